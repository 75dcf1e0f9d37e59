//! Slack: an event as a message of blocks (Block Kit), within all of its limits.

use serde_json::{Map, Value, json};

/// Characters: of the header, of a section, of a field, of all texts together.
const HEADER: usize = 150;
const SECTION: usize = 3_000;
const FIELD: usize = 2_000;
const ALL: usize = 12_000;
/// Fields of a section, blocks of a message.
const FIELDS: usize = 10;
const BLOCKS: usize = 50;
/// A field that is longer than this gets a section of its own: fields stand in two narrow columns.
const SHORT: usize = 200;

/// The message for a body `{"type":…,"timestamp":…,"data":…}`.
pub(super) fn message(body: &[u8]) -> Vec<u8> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let event = body["type"].as_str().unwrap_or("event");
    let timestamp = body["timestamp"].as_str().unwrap_or_default();
    let title = cut(event, HEADER);
    let mut message = Message { blocks: Vec::new(), room: ALL };
    message.room -= title.chars().count();
    message.blocks.push(json!({"type": "header", "text": {"type": "plain_text", "text": title}}));
    let nothing = Map::new();
    message.data(body["data"].as_object().unwrap_or(&nothing));
    message.context(timestamp);
    let text = cut(&escape(event), HEADER);
    json!({"text": text, "blocks": message.blocks}).to_string().into_bytes()
}

struct Message {
    blocks: Vec<Value>,
    room: usize,
}

impl Message {
    fn data(&mut self, data: &Map<String, Value>) {
        let mut fields = Vec::new();
        for (name, value) in data {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let text = format!("*{}*\n{}", escape(name), escape(&value));
            if text.chars().count() > SHORT {
                self.fields(&mut fields);
                self.section(&text);
            } else {
                fields.push(text);
                if fields.len() == FIELDS {
                    self.fields(&mut fields);
                }
            }
        }
        self.fields(&mut fields);
    }

    /// One section of short fields.
    fn fields(&mut self, fields: &mut Vec<String>) {
        let texts: Vec<Value> = fields
            .drain(..)
            .filter_map(|text| self.take(&text, FIELD))
            .map(|text| json!({"type": "mrkdwn", "text": text}))
            .collect();
        if !texts.is_empty() {
            self.push(json!({"type": "section", "fields": texts}));
        }
    }

    fn section(&mut self, text: &str) {
        if let Some(text) = self.take(text, SECTION) {
            self.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": text}}));
        }
    }

    fn context(&mut self, timestamp: &str) {
        if let Some(text) = self.take(&escape(timestamp), FIELD) {
            let element = json!({"type": "plain_text", "text": text});
            self.push(json!({"type": "context", "elements": [element]}));
        }
    }

    /// As much of a text as there is room for.
    fn take(&mut self, text: &str, most: usize) -> Option<String> {
        let text = cut(text, most.min(self.room));
        self.room -= text.chars().count();
        (!text.is_empty()).then_some(text)
    }

    fn push(&mut self, block: Value) {
        if self.blocks.len() < BLOCKS {
            self.blocks.push(block);
        }
    }
}

/// What Slack's own markup would read in a text.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// At most so many characters; an ellipsis says that there were more. An escape is not cut in two.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(most.saturating_sub(1)).collect();
    if let Some(at) = kept.rfind('&')
        && !kept[at..].contains(';')
    {
        kept.truncate(at);
    }
    if most > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    fn made(event: &str, data: &Value) -> Value {
        let body = json!({"type": event, "timestamp": "2026-06-10T09:00:00.000Z", "data": data});
        serde_json::from_slice(&message(body.to_string().as_bytes())).unwrap()
    }

    #[test]
    fn an_event_is_a_header_its_data_and_its_time() {
        let made = made("ticket.created", &json!({"subject": "a <b> & c", "count": 3}));
        assert_eq!(made["text"], "ticket.created");
        assert_eq!(made["blocks"][0]["text"]["text"], "ticket.created");
        let fields = &made["blocks"][1]["fields"];
        assert_eq!(fields[0]["text"], "*count*\n3");
        assert_eq!(fields[1]["text"], "*subject*\na &lt;b&gt; &amp; c");
        assert_eq!(made["blocks"][2]["elements"][0]["text"], "2026-06-10T09:00:00.000Z");
    }

    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("text").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|value| texts(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            _ => {}
        }
    }

    proptest! {
        // Each case is large: drawing it costs more than the test of it.
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever the data, no limit of Slack's is passed.
        #[test]
        fn every_limit_holds(
            event in "[a-z.]{0,300}",
            data in btree_map("[a-z<&]{1,40}", "[ -~äß€&<>]{0,4000}", 0..120),
        ) {
            let made = made(&event, &json!(data));
            prop_assert!(!made["text"].as_str().unwrap_or_default().is_empty() || event.is_empty());
            let blocks = made["blocks"].as_array().unwrap();
            prop_assert!(blocks.len() <= BLOCKS);
            let count = |value: &Value| value.as_str().unwrap().chars().count();
            prop_assert!(count(&blocks[0]["text"]["text"]) <= HEADER);
            for block in &blocks[1..] {
                for field in block["fields"].as_array().into_iter().flatten() {
                    prop_assert!(count(&field["text"]) <= FIELD);
                }
                prop_assert!(block["fields"].as_array().is_none_or(|f| f.len() <= FIELDS));
                if block["text"].is_object() {
                    prop_assert!(count(&block["text"]["text"]) <= SECTION);
                }
            }
            let mut all = Vec::new();
            texts(&made["blocks"], &mut all);
            prop_assert!(all.iter().map(|text| text.chars().count()).sum::<usize>() <= ALL);
            for text in &all[1..] {
                let bare = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
                prop_assert!(!bare.contains(['&', '<', '>']), "{text}");
            }
        }
    }
}
