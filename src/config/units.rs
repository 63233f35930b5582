//! Durations `500ms 30s 5m 2h 7d`, sizes `64KB 10MB`, rates `4/s 600/min`.

use std::time::Duration;

use super::{Node, Reader, Setting, Shape};

/// A number of bytes. `KB`, `MB` and `GB` are powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// So many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

impl Size {
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Setting for Duration {
    fn shape() -> Shape {
        Shape::Text { what: "duration", pattern: Some("^[0-9]+(ms|s|m|h|d)$"), example: "30s" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Duration> {
        reader.parsed(node, "a duration such as `500ms`, `30s`, `5m`, `2h` or `7d`", duration)
    }
}

impl Setting for Size {
    fn shape() -> Shape {
        Shape::Text { what: "size", pattern: Some("^[0-9]+(B|KB|MB|GB)$"), example: "10MB" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Size> {
        reader.parsed(node, "a size such as `64KB`, `10MB` or `1GB`", size)
    }
}

impl Setting for Rate {
    fn shape() -> Shape {
        Shape::Text { what: "rate", pattern: Some("^[0-9]+/(s|min|h)$"), example: "10/s" }
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Rate> {
        reader.parsed(node, "a rate such as `4/s`, `600/min` or `1000/h`", rate)
    }
}

/// `30s`, `5m`: a number and its unit.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}

fn size(text: &str) -> Option<Size> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit {
        "B" => 0,
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift).map(Size)
}

fn rate(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    let per = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => return None,
    };
    let count = count.parse().ok().filter(|count| *count > 0)?;
    Some(Rate { count, per: Duration::from_secs(per) })
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_or_refused() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("7d"), Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(size("10MB"), Some(Size(10 << 20)));
        assert_eq!(rate("600/min"), Some(Rate { count: 600, per: Duration::from_secs(60) }));
        for wrong in ["", "5", "5 s", "s", "-5s", "99999999999999999999d", "999999999999999999d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        assert_eq!(size("10mb"), None);
        assert_eq!(rate("0/s"), None);
    }
}
