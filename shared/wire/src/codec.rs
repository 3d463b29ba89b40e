//! The Confluent wire format: a zero byte, the schema's id in four bytes, the Avro datum.
//!
//! Where a schema comes from by its id is `registry-io`'s.

use apache_avro::{Schema, reader::datum::GenericDatumReader};
use bytes::Bytes;

use crate::{Kind, Recorded};

/// Bytes before the datum.
const PREFIX_BYTES: usize = 5;

/// A record that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("could not encode a {kind}: {why}", kind = kind.name())]
pub struct EncodeError {
    kind: Kind,
    why: String,
}

/// Bytes that are no record of ours; reading them again would not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The prefix is missing or another.
    #[error(
        "the value is no Avro record: it has {bytes} bytes and does not begin with 0 and a schema id"
    )]
    Prefix { bytes: usize },
    /// The writer's schema is none that is understood.
    #[error("the writer's schema can't be read: {why}")]
    Schema { why: String },
    /// The writer's schema is of another record.
    #[error("the value is a {found}, not a {wanted}")]
    OtherRecord { wanted: &'static str, found: String },
    /// The datum does not follow its schema, or can't be read as ours.
    #[error("the value is no {wanted}: {why}")]
    Datum { wanted: &'static str, why: String },
}

/// Encodes a record with the id its schema has in the registry.
///
/// # Errors
/// None for a record built of our types, other than one beyond Avro's lengths.
pub fn encode<T: Recorded>(record: &T, schema_id: u32) -> Result<Bytes, EncodeError> {
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + record.size_hint());
    bytes.push(0);
    bytes.extend_from_slice(&schema_id.to_be_bytes());
    let writer = &T::KIND.prepared().writer;
    writer
        .write_ser(&mut bytes, record)
        .map_err(|error| EncodeError { kind: T::KIND, why: error.to_string() })?;
    Ok(bytes.into())
}

/// Splits a value into its schema's id and the datum.
///
/// # Errors
/// [`DecodeError::Prefix`] for anything that is not in the wire format.
pub fn schema_id(bytes: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    match bytes {
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        _ => Err(DecodeError::Prefix { bytes: bytes.len() }),
    }
}

/// Reads the records of one writer's schema; made once per schema id.
#[derive(Debug)]
pub struct Decoder {
    writer: Schema,
    name: String,
    /// The kind whose schema lays out bytes exactly as the writer's does.
    same: Option<Kind>,
}

impl Decoder {
    /// Prepares reading what `writer_schema`, an Avro schema as text, has written.
    ///
    /// # Errors
    /// [`DecodeError::Schema`] where it is no schema.
    pub fn new(writer_schema: &str) -> Result<Self, DecodeError> {
        let writer = Schema::parse_str(writer_schema)
            .map_err(|error| DecodeError::Schema { why: error.to_string() })?;
        let name = writer.name().map(ToString::to_string).unwrap_or_default();
        let same =
            Kind::ALL.into_iter().find(|kind| lay_out_alike(&writer, kind.prepared().schema));
        Ok(Self { writer, name, same })
    }

    /// Decodes a datum, resolving the writer's schema to ours by Avro's rules.
    ///
    /// # Errors
    /// The same bytes never decode: the record is a dead letter.
    pub fn decode<T: Recorded>(&self, datum: &[u8]) -> Result<T, DecodeError> {
        let wanted = T::KIND.name();
        if self.name != wanted {
            return Err(DecodeError::OtherRecord { wanted, found: self.found() });
        }
        let mut rest = datum;
        let record = match self.same {
            Some(_) => T::KIND.prepared().reader.read_deser(&mut rest),
            None => self.resolve(&mut rest, T::KIND),
        };
        let record =
            record.map_err(|error| DecodeError::Datum { wanted, why: error.to_string() })?;
        if !rest.is_empty() {
            let why = format!("{} bytes follow it", rest.len());
            return Err(DecodeError::Datum { wanted, why });
        }
        Ok(record)
    }

    fn resolve<T: Recorded>(&self, rest: &mut &[u8], kind: Kind) -> apache_avro::AvroResult<T> {
        let reader = GenericDatumReader::builder(&self.writer)
            .reader_schema(kind.prepared().schema)
            .human_readable(false)
            .build()?;
        apache_avro::from_value(&reader.read_value(rest)?)
    }

    fn found(&self) -> String {
        if self.name.is_empty() { "nameless value".to_owned() } else { self.name.clone() }
    }
}

/// Says whether both schemas give the same bytes to the same record, whatever their texts are.
fn lay_out_alike(writer: &Schema, ours: &Schema) -> bool {
    writer.canonical_form() == ours.canonical_form()
}
