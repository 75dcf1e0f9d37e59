//! Reading payloads that may be long: what is derived would keep a copy of each item before it knows the
//! mode, and read an item from the bare list of its fields.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, value::RawValue};

use super::{Item, ItemId, OwnFields, Selection};
use crate::contract::resource::Fields;

/// Reads a type from an object, and from nothing else.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    from.deserialize_map(Object(PhantomData))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Ids,
    Filter,
    Items,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnySelection {
    mode: Mode,
    ids: Option<Vec<ItemId>>,
    filter: Option<Value>,
    items: Option<Vec<Item>>,
}

impl<'de> Deserialize<'de> for Selection {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let AnySelection { mode, ids, filter, items } = object(from)?;
        let other = match mode {
            Mode::Ids => filter.is_some() || items.is_some(),
            Mode::Filter => ids.is_some() || items.is_some(),
            Mode::Items => ids.is_some() || filter.is_some(),
        };
        if other {
            return Err(de::Error::custom("expected nothing beside what the mode names"));
        }
        let missing = de::Error::missing_field;
        match mode {
            Mode::Ids => Ok(Self::Ids { ids: ids.ok_or_else(|| missing("ids"))? }),
            Mode::Filter => Ok(Self::Filter { filter: filter.ok_or_else(|| missing("filter"))? }),
            Mode::Items => Ok(Self::Items { items: items.ok_or_else(|| missing("items"))? }),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemFields {
    id: ItemId,
    #[serde(default)]
    update: OwnFields,
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        object(from).map(|ItemFields { id, update }| Self { id, update })
    }
}

impl OwnFields {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The fields.
    ///
    /// # Errors
    ///
    /// The decoder's, when the text is nested too deep, or has numbers that are none.
    pub fn read(&self) -> serde_json::Result<Fields> {
        self.0.as_ref().map_or_else(|| Ok(Fields::new()), |raw| serde_json::from_str(raw.get()))
    }
}

impl<'de> Deserialize<'de> for OwnFields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(from)?;
        match raw.get().strip_prefix('{') {
            Some(rest) if rest.trim_start() == "}" => Ok(Self(None)),
            Some(_) => Ok(Self(Some(raw))),
            None => Err(de::Error::custom("expected an object of fields and what they are to be")),
        }
    }
}

impl<'de> Deserialize<'de> for ItemId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Id;
        impl Visitor<'_> for Id {
            type Value = ItemId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id: a text or a whole number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ItemId, E> {
                Ok(ItemId(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<ItemId, E> {
                Ok(ItemId(text))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ItemId, E> {
                Ok(ItemId(number.to_string()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ItemId, E> {
                i64::try_from(number)
                    .map_err(|_| E::custom("expected an id, got a number beyond 64 bits"))?;
                Ok(ItemId(number.to_string()))
            }
        }
        from.deserialize_any(Id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(selection: &Value) -> Result<Selection, String> {
        Selection::deserialize(selection).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_written_is_read() {
        for selection in [
            json!({"mode": "ids", "ids": ["a", "7"]}),
            json!({"mode": "filter", "filter": {"field": "status", "equals": "open"}}),
            json!({"mode": "items", "items": [{"id": "a"}, {"id": "b", "update": {"x": null}}]}),
        ] {
            let read = read(&selection).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), selection);
            let text = selection.to_string();
            let from_text: Selection = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_value(&from_text).unwrap(), selection);
        }
        let Selection::Ids { ids } = read(&json!({"mode": "ids", "ids": [7, -1]})).unwrap() else {
            panic!("not ids");
        };
        assert_eq!(ids, ["7", "-1"].map(|id| ItemId(id.to_owned())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (selection, words) in [
            (json!({"mode": "all"}), "unknown variant `all`"),
            (json!({"ids": ["a"]}), "missing field `mode`"),
            (json!({"mode": "ids"}), "missing field `ids`"),
            (json!({"mode": "items"}), "missing field `items`"),
            (json!({"mode": "filter"}), "missing field `filter`"),
            (json!({"mode": "ids", "ids": ["a"], "items": []}), "beside what the mode names"),
            (json!({"mode": "ids", "ids": ["a"], "all": true}), "unknown field `all`"),
            (json!(["ids", ["a"]]), "expected an object"),
            (json!({"mode": "items", "items": [["a", {}]]}), "expected an object"),
            (json!({"mode": "items", "items": [{"id": "a", "x": 1}]}), "unknown field `x`"),
            (
                json!({"mode": "items", "items": [{"id": "a", "update": [1]}]}),
                "expected an object of fields",
            ),
            (json!({"mode": "ids", "ids": [1.5]}), "an id: a text or a whole number"),
            (json!({"mode": "ids", "ids": [true]}), "an id: a text or a whole number"),
            (json!({"mode": "ids", "ids": [u64::MAX]}), "beyond 64 bits"),
        ] {
            let said = read(&selection).unwrap_err();
            assert!(said.contains(words), "{selection}: {said}");
        }
    }
}
