//! Versions of a schema that differ by a field or a symbol read each other's records.

use std::{fs, path::Path};

use apache_avro::{Schema, schema_compatibility::SchemaCompatibility, types::Value};
use serde_json::{Value as Json, json};

use super::{sample_delivery, sample_envelope, sample_receipt};
use crate::*;

/// A schema as a later version may have it: a field more at the end of the record.
fn with_a_field(kind: Kind) -> Json {
    let mut schema: Json = serde_json::from_str(kind.schema()).expect("it is JSON");
    let fields = schema["fields"].as_array_mut().expect("a record has fields");
    fields.insert(2, json!({ "name": "tenant", "type": "string", "default": "none" }));
    schema
}

/// The same with one more symbol in the enum of `field`, before the known ones.
fn with_a_symbol(kind: Kind, field: &str) -> Json {
    let mut schema = with_a_field(kind);
    let fields = schema["fields"].as_array_mut().expect("a record has fields");
    let field = fields.iter_mut().find(|f| f["name"] == field).expect("the field exists");
    let symbols = field["type"]["symbols"].as_array_mut().expect("it is an enum");
    symbols.insert(0, json!("newer"));
    schema
}

/// What a writer of the later version writes for a record of ours, with `change` made to it.
fn written_later<T: Recorded>(
    record: &T,
    later: &Json,
    change: impl FnOnce(&mut Vec<(String, Value)>),
) -> Vec<u8> {
    let later = Schema::parse(later).expect("the later schema parses");
    let ours = encode(record, 1).expect("it encodes");
    let known = Schema::parse_str(T::KIND.schema()).expect("our schema parses");
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&known)
        .reader_schema(&later)
        .build()
        .expect("the later schema reads ours");
    let mut value = reader.read_value(&mut &ours[5..]).expect("the later version reads ours");
    if let Value::Record(fields) = &mut value {
        change(fields);
    }
    apache_avro::writer::datum::GenericDatumWriter::builder(&later)
        .build()
        .and_then(|writer| writer.write_value_to_vec(value))
        .expect("the later version writes")
}

fn set(fields: &mut [(String, Value)], name: &str, value: Value) {
    let field = fields.iter_mut().find(|(found, _)| found == name).expect("the field exists");
    field.1 = value;
}

#[test]
fn a_field_of_a_later_version_is_passed_over_and_a_missing_one_is_filled_in() {
    let later = with_a_field(Kind::Envelope);
    let bytes = written_later(&sample_envelope(), &later, |fields| {
        assert!(fields.contains(&("tenant".into(), Value::String("none".into()))));
        set(fields, "tenant", Value::String("a".into()));
    });
    let decoder = Decoder::new(&later.to_string()).expect("it is a schema");
    assert_eq!(decoder.decode::<Envelope>(&bytes), Ok(sample_envelope()));
}

#[test]
fn a_delivery_with_a_fallback_is_read_by_a_version_that_knows_none() {
    let older = include_str!("../../golden/delivery.1.avsc");
    let older: Json = serde_json::from_str(older).expect("it is JSON");
    let bytes = written_later(&sample_delivery(), &older, |_| {});
    let decoder = Decoder::new(&older.to_string()).expect("it is a schema");
    let wanted = Delivery { fallback: None, ..sample_delivery() };
    assert_eq!(decoder.decode::<Delivery>(&bytes), Ok(wanted));
}

#[test]
fn a_field_that_an_older_version_lacks_has_its_default() {
    let mut older: Json = serde_json::from_str(Kind::Receipt.schema()).expect("it is JSON");
    let fields = older["fields"].as_array_mut().expect("a record has fields");
    let dropped = ["latency", "response_headers", "response_body", "settled", "outcome", "status"];
    fields.retain(|field| !dropped.contains(&field["name"].as_str().unwrap_or_default()));
    let bytes = written_later(&sample_receipt(), &older, |_| {});
    let decoder = Decoder::new(&older.to_string()).expect("it is a schema");
    let wanted = Receipt {
        latency: Latency::default(),
        response_headers: vec![],
        response_body: None,
        settled: false,
        outcome: Outcome::Unspecified,
        status: None,
        ..sample_receipt()
    };
    assert_eq!(decoder.decode::<Receipt>(&bytes), Ok(wanted));
}

#[test]
fn a_symbol_of_a_later_version_is_read_as_the_default_and_ours_keep_their_meaning() {
    let later = with_a_symbol(Kind::Receipt, "breaker");
    let decoder = Decoder::new(&later.to_string()).expect("it is a schema");
    let newer = written_later(&sample_receipt(), &later, |fields| {
        set(fields, "breaker", Value::Enum(0, "newer".into()));
    });
    let wanted = Receipt { breaker: Breaker::Unspecified, ..sample_receipt() };
    assert_eq!(decoder.decode::<Receipt>(&newer), Ok(wanted));
    let later = with_a_symbol(Kind::Receipt, "outcome");
    let decoder = Decoder::new(&later.to_string()).expect("it is a schema");
    let newer = written_later(&sample_receipt(), &later, |fields| {
        set(fields, "outcome", Value::Enum(0, "newer".into()));
    });
    let receipt: Receipt = decoder.decode(&newer).expect("it decodes");
    assert_eq!(receipt.outcome, Outcome::Unspecified);
    let known = written_later(&sample_receipt(), &later, |_| {});
    assert_eq!(decoder.decode::<Receipt>(&known), Ok(sample_receipt()));
}

#[test]
fn an_order_of_a_later_version_is_read_as_strict() {
    let later = with_a_symbol(Kind::Delivery, "order");
    let decoder = Decoder::new(&later.to_string()).expect("it is a schema");
    let bytes = written_later(&sample_delivery(), &later, |fields| {
        set(fields, "order", Value::Enum(0, "newer".into()));
    });
    assert_eq!(decoder.decode::<Delivery>(&bytes).map(|d| d.order), Ok(Order::Strict));
}

#[test]
fn every_kind_may_gain_and_lose_fields_and_symbols() {
    let cases = [
        (Kind::Envelope, with_a_field(Kind::Envelope)),
        (Kind::Delivery, with_a_symbol(Kind::Delivery, "order")),
        (Kind::Receipt, with_a_symbol(Kind::Receipt, "outcome")),
        (Kind::Receipt, with_a_symbol(Kind::Receipt, "breaker")),
    ];
    let json = |text: &str| serde_json::from_str(text).expect("it is JSON");
    let before = [
        (Kind::Delivery, json(include_str!("../../golden/delivery.1.avsc"))),
        (Kind::Receipt, json(include_str!("../../golden/receipt.1.avsc"))),
    ];
    for (kind, later) in cases.into_iter().chain(before) {
        let ours = Schema::parse_str(kind.schema()).expect("our schema parses");
        let later = Schema::parse(&later).expect("the later schema parses");
        SchemaCompatibility::mutual_read(&ours, &later)
            .unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
    }
}

#[test]
fn every_version_reads_every_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let files = fs::read_dir(folder).expect("the golden files are there");
    let files = files.map(|file| file.expect("it is a file").path());
    let versions: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|end| end == "avsc"))
        .map(|file| (file.clone(), fs::read_to_string(file).expect("it is a text")))
        .collect();
    for (file, version) in &versions {
        let version = Schema::parse_str(version).expect("it is a schema");
        let of_kind = |other: &Schema| other.name() == version.name();
        let others = versions.iter().map(|(_, text)| Schema::parse_str(text).expect("it is one"));
        let alike: Vec<_> = others.filter(of_kind).collect();
        for other in alike {
            SchemaCompatibility::mutual_read(&version, &other)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
    assert!(versions.len() > Kind::ALL.len(), "a kind has more than one version");
}
