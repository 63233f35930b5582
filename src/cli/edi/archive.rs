//! What is in a zip archive, and in archives in it: every file within bounds, whatever the archive says.

use miniz_oxide::inflate::decompress_to_vec_with_limit;
use rawzip::{CompressionMethod, ZipArchive, ZipVerification, crc32};

/// Of one file, unpacked; those of a directory have one or two MiB.
const LARGEST: usize = 64 << 20;
/// How deep archives may stand in each other.
const DEEPEST: usize = 3;

/// What may still be unpacked, of all archives together.
pub struct Budget {
    bytes: usize,
    files: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { bytes: 512 << 20, files: 20_000 }
    }
}

/// Whether a file begins as an archive does.
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// Gives each file to `take`, with its name within the archive.
///
/// # Errors
/// A sentence, where an archive is damaged, larger than the bounds, or packed in a way that is not known.
pub fn unpack(name: &str, bytes: &[u8], budget: &mut Budget, take: &mut dyn FnMut(&str, &[u8])) -> Result<(), String> {
    unpack_at(name, bytes, budget, take, 1)
}

fn unpack_at(
    name: &str,
    bytes: &[u8],
    budget: &mut Budget,
    take: &mut dyn FnMut(&str, &[u8]),
    depth: usize,
) -> Result<(), String> {
    let damaged = |error: rawzip::Error| format!("{name} is no whole zip archive: {error}");
    let archive = ZipArchive::from_slice(bytes).map_err(damaged)?;
    let mut entries = archive.entries();
    while let Some(entry) = entries.next_entry().map_err(damaged)? {
        if entry.is_dir() {
            continue;
        }
        let inner = format!("{name}/{}", String::from_utf8_lossy(entry.file_path().as_bytes()));
        budget.files = budget.files.checked_sub(1).ok_or_else(|| format!("{name} holds too many files"))?;
        let (method, limit) = (entry.compression_method(), LARGEST.min(budget.bytes));
        let found = archive.get_entry(entry.wayfinder()).map_err(damaged)?;
        let too_large = || format!("{inner} is larger than can be a directory's: nothing of it was taken");
        let unpacked = match method {
            CompressionMethod::STORE if found.data().len() > limit => return Err(too_large()),
            CompressionMethod::STORE => found.data().to_vec(),
            CompressionMethod::DEFLATE => {
                decompress_to_vec_with_limit(found.data(), limit).map_err(|error| match error.status {
                    miniz_oxide::inflate::TINFLStatus::HasMoreOutput => too_large(),
                    _ => format!("{inner} is damaged: it cannot be unpacked"),
                })?
            }
            _ => {
                let why = "is packed in a way that is not known: unpack the archive, and import the folder";
                return Err(format!("{inner} {why}"));
            }
        };
        let is = ZipVerification { crc: crc32(&unpacked), uncompressed_size: unpacked.len() as u64 };
        found.claim_verifier().valid(is).map_err(|error| format!("{inner} is damaged: {error}"))?;
        budget.bytes -= unpacked.len();
        match is_archive(&unpacked) {
            true if depth == DEEPEST => return Err(format!("{inner}: archives stand in archives too deep")),
            true => unpack_at(&inner, &unpacked, budget, take, depth + 1)?,
            false => take(&inner, &unpacked),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut archive = rawzip::ZipArchiveWriter::new(&mut out);
        for (at, (name, bytes)) in files.iter().enumerate() {
            let deflate = at % 2 == 0;
            let method = if deflate { CompressionMethod::DEFLATE } else { CompressionMethod::STORE };
            let (mut entry, config) = archive.new_file(name).compression_method(method).start().expect("a name");
            let packed = if deflate { miniz_oxide::deflate::compress_to_vec(bytes, 9) } else { bytes.to_vec() };
            // The sizes and the sum are of what was packed.
            let mut sum = config.wrap(std::io::sink());
            sum.write_all(bytes).expect("a sink");
            let (_, descriptor) = sum.finish().expect("a sink");
            entry.write_all(&packed).expect("a list");
            entry.finish(descriptor).expect("a list");
        }
        archive.finish().expect("a list");
        out
    }

    fn check(bytes: &[u8], mut budget: Budget) -> Result<Vec<(String, usize)>, String> {
        let mut found = Vec::new();
        let done = unpack("a.zip", bytes, &mut budget, &mut |name, bytes| found.push((name.to_owned(), bytes.len())));
        done.map(|()| found)
    }

    #[test]
    fn archives_in_archives_are_unpacked() {
        let inner = packed(&[("ORDERS_D.96A", &[b'x'; 5000]), ("b", b"")]);
        let outer = packed(&[("readme", b"words"), ("edmd.zip", &inner)]);
        let expect = [("a.zip/readme", 5), ("a.zip/edmd.zip/ORDERS_D.96A", 5000), ("a.zip/edmd.zip/b", 0)]
            .map(|(n, l)| (n.to_owned(), l));
        assert_eq!(check(&outer, Budget::default()).expect("whole"), expect);
    }

    #[test]
    fn what_is_too_large_too_deep_or_damaged_is_refused() {
        let said = |bytes: &[u8], budget: Budget, expect: &str| {
            let error = check(bytes, budget).expect_err(expect);
            assert!(error.contains(expect), "{error}");
        };
        let bomb = packed(&[("bomb", &vec![0; 10 << 20])]);
        assert!(bomb.len() < 100_000);
        said(&bomb, Budget { bytes: 1 << 20, files: 9 }, "a.zip/bomb is larger than can be");
        said(&packed(&[("a", b"a"), ("b", b"b")]), Budget { bytes: 99, files: 1 }, "holds too many files");
        let deep = (0..3).fold(packed(&[("a", b"a")]), |inner, _| packed(&[("z.zip", &inner)]));
        said(&deep, Budget::default(), "too deep");
        said(b"PK\x03\x04and no more", Budget::default(), "is no whole zip archive");
        let mut changed = packed(&[("x", b""), ("stored", b"some words that stand as they are")]);
        let at = changed.windows(4).position(|four| four == b"word").expect("stored");
        changed[at] ^= 1;
        said(&changed, Budget::default(), "a.zip/stored is damaged");
    }

    #[test]
    fn damage_anywhere_is_an_error_and_no_panic() {
        let whole = packed(&[("one", &[b'x'; 300]), ("two", b"two"), ("three", &[7; 90])]);
        for at in 0..whole.len() {
            for bits in [0xFF, 0x01, 0x80] {
                let mut changed = whole.clone();
                changed[at] ^= bits;
                drop(check(&changed, Budget { bytes: 1 << 20, files: 9 }));
            }
            drop(check(&whole[..at], Budget { bytes: 1 << 20, files: 9 }));
        }
    }
}
