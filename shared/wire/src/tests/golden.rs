//! Records as they were once written: they decode for ever.
//!
//! A file is `<kind>.<version>.bin`, its writer's schema beside it as `.avsc`. Neither is ever
//! changed; a new version of a schema gets new files, which this test asks for.

mod control;
mod headers;

use std::{fs, path::PathBuf};

use super::{sample_delivery, sample_envelope, sample_receipt};
use crate::*;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

/// Returns a golden file's bytes.
fn golden(name: &str) -> Vec<u8> {
    fs::read(file(name)).unwrap_or_else(|error| panic!("golden/{name}: {error}"))
}

/// Holds what is written now against a golden file that is text.
fn assert_golden(name: &str, written: &[u8]) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(written), text(&golden(name)), "{name}: make a new version's golden files");
}

fn check<T: Recorded + PartialEq + std::fmt::Debug>(version: &str, wanted: &T) {
    let bytes = fs::read(file(&format!("{version}.bin"))).expect("the golden record is there");
    let schema = fs::read_to_string(file(&format!("{version}.avsc"))).expect("its schema is there");
    let (_, datum) = schema_id(&bytes).expect("it has a prefix");
    let decoder = Decoder::new(&schema).expect("its schema is one");
    assert_eq!(decoder.decode::<T>(datum).as_ref(), Ok(wanted), "{version}");
}

#[test]
fn every_record_ever_written_decodes() {
    check("envelope.1", &sample_envelope());
    check("delivery.1", &Delivery { fallback: None, ..sample_delivery() });
    check("delivery.2", &sample_delivery());
    // The first version knew no breaker and no fallback.
    let first = Receipt { breaker: Breaker::Unspecified, handed_over: None, ..sample_receipt() };
    check("receipt.1", &first);
    check("receipt.2", &sample_receipt());
}

#[test]
fn what_is_written_now_is_among_the_golden_files() {
    let written = [
        ("envelope.1", Kind::Envelope, encode(&sample_envelope(), 7)),
        ("delivery.2", Kind::Delivery, encode(&sample_delivery(), 7)),
        ("receipt.2", Kind::Receipt, encode(&sample_receipt(), 7)),
    ];
    for (version, kind, bytes) in written {
        let bytes = bytes.expect("it encodes");
        let (record, schema) = (file(&format!("{version}.bin")), file(&format!("{version}.avsc")));
        // With MILLRACE_GOLDEN=write a version's files are made once, when its schema is new.
        if std::env::var("MILLRACE_GOLDEN").is_ok_and(|v| v == "write") && !record.exists() {
            fs::write(&record, &bytes).expect("the folder can be written");
            fs::write(&schema, kind.schema()).expect("the folder can be written");
        }
        assert_eq!(fs::read(record).expect("the golden record is there"), bytes, "{version}");
        let golden = fs::read_to_string(schema).expect("its schema is there");
        assert_eq!(golden, kind.schema(), "{version}: make a new version's golden files");
    }
}
