//! People: addresses and numbers in one form, so that the same person is found again.

use super::{Body, Family, Function, Given, Kind, done_text, need};
use crate::message::{Fault, Value};

pub const ALL: &[Function] = &[
    Function {
        name: "email",
        family: Family::People,
        parameters: &[need("text", Kind::Text)],
        result: Kind::Text,
        about: "The e-mail address, trimmed and in small letters; what is none is a fault.",
        example: "email(' Zoe.Martin@Example.COM ')",
        gives: "'zoe.martin@example.com'",
        body: Body::Plain(email),
    },
    Function {
        name: "phone",
        family: Family::People,
        parameters: &[need("text", Kind::Plain), need("country", Kind::Text)],
        result: Kind::Text,
        about: "The telephone number in international form (E.164), read as people write it in the country, two letters. \
                What is no number there is a fault.",
        example: "phone('06 12 34 56 78', 'FR')",
        gives: "'+33612345678'",
        body: Body::Plain(phone),
    },
    Function {
        name: "country",
        family: Family::People,
        parameters: &[need("code", Kind::Text)],
        result: Kind::Text,
        about: "The country's two letters (ISO 3166-1), from its two or its three.",
        example: "[country('FRA'), country('be')]",
        gives: "['FR', 'BE']",
        body: Body::Plain(country),
    },
];

/// RFC 5321 lengths; the characters people have in addresses, without quoted local parts and addresses by number.
fn email(given: &Given<'_>) -> Result<Value, Fault> {
    let text = given.text(0).trim().to_lowercase();
    let wrong = |why: &str| Err(given.refuse(0, format!("not an e-mail address: {why}")));
    let Some((local, domain)) = text.rsplit_once('@') else {
        return wrong("there is no `@`");
    };
    let dots = |part: &str| part.starts_with('.') || part.ends_with('.') || part.contains("..");
    let odd = |c: char| !(c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c));
    if local.is_empty() || local.len() > 64 || dots(local) || local.contains(odd) {
        return wrong("what stands before the `@` cannot");
    }
    let label = |label: &str| {
        let hyphens = label.starts_with('-') || label.ends_with('-');
        !label.is_empty() && label.len() <= 63 && !hyphens && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    if domain.len() > 255 || !domain.contains('.') || !domain.split('.').all(label) {
        return wrong("what follows the `@` is no domain");
    }
    done_text(text)
}

fn phone(given: &Given<'_>) -> Result<Value, Fault> {
    let text = given.plain(0);
    let Some(code) = alpha2(given.text(1)) else {
        return Err(given.refuse(1, "not a country's two letters"));
    };
    let Ok(country) = code.parse::<phonenumber::country::Id>() else {
        return Err(given.refuse(1, "no telephone numbers are known there"));
    };
    // Longer than any number with its extension.
    if text.len() > 50 {
        return Err(given.refuse(0, "longer than any telephone number"));
    }
    match phonenumber::parse(Some(country), text.trim()) {
        Ok(number) if phonenumber::is_valid(&number) => {
            done_text(number.format().mode(phonenumber::Mode::E164).to_string())
        }
        _ => Err(given.refuse(0, format!("not a telephone number in {code}"))),
    }
}

fn country(given: &Given<'_>) -> Result<Value, Fault> {
    match alpha2(given.text(0)) {
        Some(code) => done_text(code),
        None => Err(given.refuse(0, "not a country's two or three letters (ISO 3166-1)")),
    }
}

/// The two letters of a country given by its two or three.
fn alpha2(text: &str) -> Option<&'static str> {
    let code = text.trim().to_ascii_uppercase();
    let is = |entry: &&str| match code.len() {
        2 => entry[..2] == code,
        3 => entry[2..] == code,
        _ => false,
    };
    COUNTRIES.split_ascii_whitespace().find(is).map(|entry| &entry[..2])
}

/// ISO 3166-1: two letters, then three, of each country.
const COUNTRIES: &str = "
    ADAND AEARE AFAFG AGATG AIAIA ALALB AMARM AOAGO AQATA ARARG ASASM ATAUT AUAUS AWABW AXALA AZAZE
    BABIH BBBRB BDBGD BEBEL BFBFA BGBGR BHBHR BIBDI BJBEN BLBLM BMBMU BNBRN BOBOL BQBES BRBRA BSBHS BTBTN BVBVT BWBWA BYBLR BZBLZ
    CACAN CCCCK CDCOD CFCAF CGCOG CHCHE CICIV CKCOK CLCHL CMCMR CNCHN COCOL CRCRI CUCUB CVCPV CWCUW CXCXR CYCYP CZCZE
    DEDEU DJDJI DKDNK DMDMA DODOM DZDZA ECECU EEEST EGEGY EHESH ERERI ESESP ETETH
    FIFIN FJFJI FKFLK FMFSM FOFRO FRFRA GAGAB GBGBR GDGRD GEGEO GFGUF GGGGY GHGHA GIGIB GLGRL GMGMB GNGIN GPGLP GQGNQ GRGRC
    GSSGS GTGTM GUGUM GWGNB GYGUY HKHKG HMHMD HNHND HRHRV HTHTI HUHUN
    IDIDN IEIRL ILISR IMIMN ININD IOIOT IQIRQ IRIRN ISISL ITITA JEJEY JMJAM JOJOR JPJPN
    KEKEN KGKGZ KHKHM KIKIR KMCOM KNKNA KPPRK KRKOR KWKWT KYCYM KZKAZ LALAO LBLBN LCLCA LILIE LKLKA LRLBR LSLSO LTLTU LULUX LVLVA LYLBY
    MAMAR MCMCO MDMDA MEMNE MFMAF MGMDG MHMHL MKMKD MLMLI MMMMR MNMNG MOMAC MPMNP MQMTQ MRMRT MSMSR MTMLT MUMUS MVMDV MWMWI MXMEX MYMYS MZMOZ
    NANAM NCNCL NENER NFNFK NGNGA NINIC NLNLD NONOR NPNPL NRNRU NUNIU NZNZL OMOMN
    PAPAN PEPER PFPYF PGPNG PHPHL PKPAK PLPOL PMSPM PNPCN PRPRI PSPSE PTPRT PWPLW PYPRY QAQAT REREU ROROU RSSRB RURUS RWRWA
    SASAU SBSLB SCSYC SDSDN SESWE SGSGP SHSHN SISVN SJSJM SKSVK SLSLE SMSMR SNSEN SOSOM SRSUR SSSSD STSTP SVSLV SXSXM SYSYR SZSWZ
    TCTCA TDTCD TFATF TGTGO THTHA TJTJK TKTKL TLTLS TMTKM TNTUN TOTON TRTUR TTTTO TVTUV TWTWN TZTZA
    UAUKR UGUGA UMUMI USUSA UYURY UZUZB VAVAT VCVCT VEVEN VGVGB VIVIR VNVNM VUVUT WFWLF WSWSM YEYEM YTMYT ZAZAF ZMZMB ZWZWE";
