//! Which records there are, and the schema each is written with.

use std::sync::LazyLock;

use apache_avro::{Schema, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter};

/// A kind of record with a schema of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An event as it came.
    Envelope,
    /// An event for one destination.
    Delivery,
    /// What one attempt came to.
    Receipt,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Envelope, Self::Delivery, Self::Receipt];

    /// Returns the Avro schema as text, as it is registered.
    pub fn schema(self) -> &'static str {
        match self {
            Self::Envelope => include_str!("../schemas/envelope.avsc"),
            Self::Delivery => include_str!("../schemas/delivery.avsc"),
            Self::Receipt => include_str!("../schemas/receipt.avsc"),
        }
    }

    /// Returns the full name of the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Envelope => "millrace.v1.Envelope",
            Self::Delivery => "millrace.v1.Delivery",
            Self::Receipt => "millrace.v1.Receipt",
        }
    }

    pub(crate) fn prepared(self) -> &'static Prepared {
        match self {
            Self::Envelope => &ENVELOPE,
            Self::Delivery => &DELIVERY,
            Self::Receipt => &RECEIPT,
        }
    }
}

/// A schema parsed once, with what writes and reads by it: preparing costs more than a record.
pub(crate) struct Prepared {
    pub(crate) schema: &'static Schema,
    pub(crate) writer: GenericDatumWriter<'static>,
    pub(crate) reader: GenericDatumReader<'static>,
}

static ENVELOPE_SCHEMA: LazyLock<Schema> = LazyLock::new(|| parsed(Kind::Envelope));
static DELIVERY_SCHEMA: LazyLock<Schema> = LazyLock::new(|| parsed(Kind::Delivery));
static RECEIPT_SCHEMA: LazyLock<Schema> = LazyLock::new(|| parsed(Kind::Receipt));
static ENVELOPE: LazyLock<Prepared> = LazyLock::new(|| prepare(&ENVELOPE_SCHEMA));
static DELIVERY: LazyLock<Prepared> = LazyLock::new(|| prepare(&DELIVERY_SCHEMA));
static RECEIPT: LazyLock<Prepared> = LazyLock::new(|| prepare(&RECEIPT_SCHEMA));

fn parsed(kind: Kind) -> Schema {
    Schema::parse_str(kind.schema()).expect("our own schema parses: a test reads each")
}

fn prepare(schema: &'static Schema) -> Prepared {
    const OWN: &str = "our own schema resolves: a test uses each";
    let writer = GenericDatumWriter::builder(schema).human_readable(false).build().expect(OWN);
    let reader = GenericDatumReader::builder(schema).human_readable(false).build().expect(OWN);
    Prepared { schema, writer, reader }
}
