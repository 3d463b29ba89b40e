//! Dead letters of others, by the headers each family documents. What ours say goes first.

use super::Letter;

/// Takes what a header of another family says, where no other header has said it.
pub(super) fn take<'a>(letter: &mut Letter<'a>, name: &str, value: &'a [u8]) {
    let Some((field, numbers)) = field(name) else { return };
    let text = std::str::from_utf8(value).unwrap_or_default();
    match field {
        Field::Topic if letter.origin_topic.is_empty() => letter.origin_topic = text,
        Field::Partition if letter.origin_partition.is_none() => {
            letter.origin_partition = number(value, numbers).and_then(|n| i32::try_from(n).ok());
        }
        Field::Offset if letter.origin_offset.is_none() => {
            letter.origin_offset = number(value, numbers);
        }
        Field::Class if letter.error_type.is_empty() => letter.error_type = text,
        Field::Message if letter.message.is_empty() => letter.message = text,
        Field::Topic | Field::Partition | Field::Offset | Field::Class | Field::Message => {}
    }
}

#[derive(Clone, Copy)]
enum Field {
    Topic,
    Partition,
    Offset,
    Class,
    Message,
}

/// How a family writes numbers.
#[derive(Clone, Copy)]
enum Numbers {
    Text,
    /// Four or eight bytes, the most significant first.
    Binary,
}

fn field(name: &str) -> Option<(Field, Numbers)> {
    use Field::{Class, Message, Offset, Partition, Topic};
    let families = [
        ("__connect.errors.", Numbers::Text),
        ("__streams.errors.", Numbers::Text),
        ("__dlq.errors.", Numbers::Text),
        ("kafka_dlt-", Numbers::Binary),
    ];
    let family = families.iter().find(|(prefix, _)| name.starts_with(prefix));
    let (prefix, numbers) = *family?;
    let field = match &name[prefix.len()..] {
        "topic" | "original-topic" => Topic,
        "partition" | "original-partition" => Partition,
        "offset" | "original-offset" => Offset,
        "exception" | "exception.class.name" | "exception-fqcn" => Class,
        "message" | "exception.message" | "exception-message" => Message,
        _ => return None,
    };
    Some((field, numbers))
}

fn number(value: &[u8], numbers: Numbers) -> Option<i64> {
    match numbers {
        Numbers::Text => std::str::from_utf8(value).ok()?.parse().ok(),
        Numbers::Binary => match value {
            [_, _, _, _] => Some(i64::from(i32::from_be_bytes(value.try_into().ok()?))),
            _ => Some(i64::from_be_bytes(value.try_into().ok()?)),
        },
    }
}

#[cfg(test)]
mod tests {
    use wire::{headers::Origin, topics::Names};

    use super::*;

    fn origin<'a>(headers: &'a [(&'a str, &'a [u8])]) -> (Option<Origin<'a>>, &'a str, &'a str) {
        let headers = headers.iter().copied();
        let letter = Letter::read(("dlq.x.y", 0, 0), 0, headers, &Names::new(""));
        (letter.origin(), letter.error_type, letter.message)
    }

    #[test]
    fn letters_of_other_families_tell_where_they_lay_and_why() {
        let wanted = (Some(Origin { topic: "t", partition: 2, offset: 9 }), "E", "m");
        let families: [&[(&str, &[u8])]; 4] = [
            &[
                ("__connect.errors.topic", b"t"),
                ("__connect.errors.partition", b"2"),
                ("__connect.errors.offset", b"9"),
                ("__connect.errors.exception.class.name", b"E"),
                ("__connect.errors.exception.message", b"m"),
            ],
            &[
                ("__streams.errors.topic", b"t"),
                ("__streams.errors.partition", b"2"),
                ("__streams.errors.offset", b"9"),
                ("__streams.errors.exception", b"E"),
                ("__streams.errors.message", b"m"),
            ],
            &[
                ("kafka_dlt-original-topic", b"t"),
                ("kafka_dlt-original-partition", &[0, 0, 0, 2]),
                ("kafka_dlt-original-offset", &[0, 0, 0, 0, 0, 0, 0, 9]),
                ("kafka_dlt-exception-fqcn", b"E"),
                ("kafka_dlt-exception-message", b"m"),
            ],
            &[
                ("millrace-dlq-error-type", b"E"),
                ("millrace-dlq-error-message", b"m"),
                ("__dlq.errors.topic", b"t"),
                ("__dlq.errors.partition", b"2"),
                ("__dlq.errors.offset", b"9"),
                ("__dlq.errors.message", b"other"),
            ],
        ];
        for family in families {
            assert_eq!(origin(family), wanted, "{family:?}");
        }
    }

    #[test]
    fn numbers_of_another_length_are_no_origin() {
        let headers: &[(&str, &[u8])] = &[
            ("kafka_dlt-original-topic", b"t"),
            ("kafka_dlt-original-partition", &[2]),
            ("kafka_dlt-original-offset", b"9"),
        ];
        assert_eq!(origin(headers).0, None);
    }
}
