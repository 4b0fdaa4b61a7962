#![expect(clippy::unwrap_used, reason = "a test may panic")]
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn accepted(text: &str) -> bool {
    let footprint = footprint::is_canonical(text.as_bytes());
    let general = general::is_canonical(text.as_bytes());
    assert!(general || !footprint, "{text}");
    is_canonical_object(text.as_bytes())
}

fn value_text(value: &Value) -> String {
    let mut text = Vec::new();
    push_value(&mut text, value);
    String::from_utf8(text).unwrap()
}

#[test]
fn texts_of_json_stringify_are_canonical() {
    for text in [
        "{}",
        "[]",
        "[null,true,false,0,-1,1.5,\"\"]",
        r#"{"a":{"b":[{},[]]},"b":"x"}"#,
        r#"{"0":1,"7":2,"10":3,"4294967294":4,"b":5,"a":6,"007":7,"-1":8,"1.5":9}"#,
        r#"["\"\\\b\f\n\r\t\u0000\u000b\u001f","\ud800","\udfff\ud800","\ud800x"]"#,
        "[\"\u{7f}\u{2028}\u{feff}\u{1f600}/\"]",
        "[1e+21,1e-7,5e-324,0.30000000000000004,1.7976931348623157e+308,9007199254740992]",
        r#"{"64123.45":{"bid":0.25,"ask":1.5},"64123.5":{"bid":3,"ask":0}}"#,
    ] {
        assert!(accepted(text), "{text}");
    }
}

#[test]
fn other_texts_are_not() {
    for text in [
        "",
        "1",
        "null",
        "\"a\"",
        "{",
        "[1",
        "[1,]",
        "{\"a\"}",
        "{\"a\":1,}",
        "{}x",
        " {}",
        "{} ",
        "[1, 2]",
        "{\"a\": 1}",
        "\u{feff}{}",
        "[tru]",
        "[nulll]",
        r#"["\/"]"#,
        r#"["\u0041"]"#,
        r#"["\u001F"]"#,
        r#"["\u000a"]"#,
        r#"["\ud83d\ude00"]"#,
        r#"["\u00"]"#,
        "[\"\n\"]",
        "[\"a]",
    ] {
        assert!(!accepted(text), "{text}");
    }
    assert!(!is_canonical_object(b"[\"\xff\"]"));
    assert!(!is_canonical_object(b"[\"\xed\xa0\x80\"]"));
}

#[test]
fn a_number_that_would_be_written_otherwise_is_not_canonical() {
    for number in [
        "-0",
        "1.0",
        "0.10",
        "01",
        "+1",
        "1.",
        ".5",
        "-",
        "1e5",
        "1E5",
        "1e21",
        "1e400",
        "0.0000001",
        "0.00000010",
        "-0.0",
        "123456789012345678",
        "9007199254740993",
        "0.1234567890123456789",
        "1.2.3",
        "1-2",
        "NaN",
        "Infinity",
        "1000000000000000000000",
    ] {
        for text in [
            format!("[{number}]"),
            format!(r#"{{"1.5":{{"bid":{number},"ask":1}}}}"#),
            format!(r#"{{"1.5":{{"bid":1,"ask":{number}}}}}"#),
            format!(r#"{{"1.5":{{"bid":1,"ask":2,"delta":{number}}}}}"#),
            format!(r#"{{"1.5":{{"bid":1,"ask":{number}}},"2.5":{{"bid":1,"ask":2}}}}"#),
        ] {
            assert!(!accepted(&text), "{text}");
        }
    }
}

#[test]
fn keys_that_javascript_would_move_drop_or_treat_apart_are_not_canonical() {
    for text in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"b":{"a":1},"a":2}"#,
        r#"{"a":1,"0":2}"#,
        r#"{"2":1,"1":2}"#,
        r#"{"10":1,"9":2}"#,
        r#"{"1":1,"1":2}"#,
        r#"{"__proto__":1}"#,
        r#"{"1.5":{"bid":1,"ask":2},"1":{"bid":1,"ask":2}}"#,
        r#"{"1.5":{"bid":1,"ask":2},"1.5":{"bid":1,"ask":2}}"#,
        r#"{"1.5":{"bid":1,"ask":2},"3.5":{"bid":1,"ask":2},"2.5":{"bid":1,"ask":2},"3.5":{"bid":1,"ask":2}}"#,
    ] {
        assert!(!accepted(text), "{text}");
    }
    let many: Vec<String> = (0..20).map(|key| format!("\"k{}\":1", key % 19)).collect();
    assert!(!accepted(&format!("{{{}}}", many.join(","))));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(accepted(&nested(64)));
    assert!(!accepted(&nested(65)));
    assert!(!accepted(&"[".repeat(100_000)));
    assert!(!accepted(&r#"{"a":"#.repeat(100_000)));
}

#[test]
fn values_are_written_as_javascript_writes_them() {
    for (value, expected) in [
        (Value::Null, "null"),
        (Value::Integer(i64::MIN), "-9223372036854776000"),
        (Value::Integer(9_007_199_254_740_993), "9007199254740992"),
        (Value::Real(-0.0), "0"),
        (Value::Real(f64::INFINITY), "null"),
        (
            Value::Text("\"\\\u{8}\u{c}\n\r\t\u{0}\u{b}\u{1f}\u{7f}é\u{2028}/".into()),
            "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u000b\\u001f\u{7f}é\u{2028}/\"",
        ),
        (Value::Blob(vec![]), r#"{"type":"Buffer","data":[]}"#),
        (
            Value::Blob(vec![1, 255]),
            r#"{"type":"Buffer","data":[1,255]}"#,
        ),
    ] {
        assert_eq!(value_text(&value), expected);
    }
}

#[test]
fn every_way_to_look_at_bytes_sees_the_same() {
    for first in 0..=255_u8 {
        let bytes: [u8; 16] = std::array::from_fn(|at| first.wrapping_add((at * at) as u8));
        assert_eq!(masks::block::bits(&bytes), masks::portable::bits(&bytes));
        let price = bytes.map(|byte| b"0123456789.\""[usize::from(byte % 12)]);
        let nibbles = masks::block::nibbles(&price);
        assert_eq!(nibbles, masks::portable::nibbles(&price));
        for (at, byte) in price.iter().enumerate() {
            assert_eq!(nibbles >> (60 - 4 * at) & 15, u64::from((byte & 15) + 1));
        }
    }
}

/// A JSON value with the members of objects in the order that JavaScript gives them.
#[derive(Debug, Clone)]
enum Json {
    Plain(Value),
    Flag(bool),
    Array(Vec<Json>),
    Object(Vec<u32>, Vec<String>, Vec<Json>),
}

fn json() -> impl Strategy<Value = Json> {
    let plain = prop_oneof![
        Just(Json::Plain(Value::Null)),
        any::<bool>().prop_map(Json::Flag),
        any::<f64>().prop_map(|value| Json::Plain(Value::Real(value))),
        (-1_000_000..1_000_000_i64)
            .prop_map(|value| Json::Plain(Value::Real(value as f64 / 1000.0))),
        ".{0,12}".prop_map(|text| Json::Plain(Value::Text(text))),
    ];
    plain.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Json::Array),
            (
                prop::collection::btree_set(0..30_u32, 0..4),
                prop::collection::hash_set("[a-z\"\\\\\u{1}é]{0,6}", 0..12),
                vec(inner, 16),
            )
                .prop_map(|(numbers, names, values)| {
                    Json::Object(
                        numbers.into_iter().collect(),
                        names.into_iter().collect(),
                        values,
                    )
                }),
        ]
    })
}

/// Numbers and strings by the definition, everything else by joining.
fn write(json: &Json) -> String {
    let string = |text: &str| serde_json::to_string(text).unwrap();
    match json {
        Json::Plain(Value::Text(text)) => string(text),
        Json::Plain(value) => value_text(value),
        Json::Flag(flag) => flag.to_string(),
        Json::Array(values) => {
            let values: Vec<String> = values.iter().map(write).collect();
            format!("[{}]", values.join(","))
        }
        Json::Object(numbers, names, values) => {
            let names = names.iter().map(|name| string(name));
            let keys = numbers
                .iter()
                .map(|number| format!("\"{number}\""))
                .chain(names);
            let members: Vec<String> = keys
                .zip(values)
                .map(|(key, value)| format!("{key}:{}", write(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// Levels, whose prices are given in hundredths.
fn footprint_text(prices: &[i64], volumes: &[(i64, i64)], fields: usize) -> String {
    let number = |hundredths: i64| value_text(&Value::Real(hundredths as f64 / 100.0));
    let levels: Vec<String> = prices
        .iter()
        .zip(volumes)
        .map(|(price, (bid, ask))| {
            let mut level = format!("\"{}\":{{\"bid\":{}", number(*price), number(*bid));
            level += &format!(",\"ask\":{}", value_text(&Value::Real(*ask as f64 / 3.0)));
            if fields > 2 {
                level += &format!(",\"delta\":{}", number(bid - ask));
            }
            if fields > 3 {
                level += &format!(",\"imbalance\":{}", bid > ask);
            }
            level + "}"
        })
        .collect();
    format!("{{{}}}", levels.join(","))
}

proptest! {
    #[test]
    fn what_is_written_in_the_order_of_javascript_is_canonical(value in json()) {
        let text = write(&value);
        prop_assert_eq!(accepted(&text), text.starts_with(['{', '[']), "{}", text);
    }

    #[test]
    fn one_more_space_key_or_zero_is_not(values in vec(json(), 1..4), at in any::<prop::sample::Index>()) {
        let text = write(&Json::Array(values));
        let spaced = format!("{} {}", &text[..1], &text[1..]);
        prop_assert!(!accepted(&spaced));
        let doubled = format!("{{\"k\":{text},\"k\":{text}}}");
        prop_assert!(!accepted(&doubled));
        let cut = at.index(text.len());
        prop_assert!(!is_canonical_object(&text.as_bytes()[..cut]));
    }

    #[test]
    fn footprints_are_canonical_unless_a_price_comes_twice_or_a_whole_one_late(
        prices in vec(1..2_000_i64, 1..12),
        volumes in vec((0..1_000_000_i64, 0..1000_i64), 12),
        fields in 2..5_usize,
    ) {
        let unique = prices.iter().collect::<std::collections::HashSet<_>>().len() == prices.len();
        let whole: Vec<i64> = prices.iter().copied().filter(|price| price % 100 == 0).collect();
        let ordered = prices.starts_with(&whole) && whole.is_sorted();
        let text = footprint_text(&prices, &volumes, fields);
        prop_assert_eq!(accepted(&text), unique && ordered, "{}", text);
        prop_assert_eq!(footprint::is_canonical(text.as_bytes()), unique && ordered, "{}", text);
    }

    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..200), text in "[{}\\[\\]\",:.0-9eabiksd-]{0,80}") {
        let _ = is_canonical_object(&bytes);
        if is_canonical_object(text.as_bytes()) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }
    }
}
