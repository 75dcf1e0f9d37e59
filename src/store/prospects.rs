//! Prospects: whom a tenant may write to.

use std::collections::BTreeMap;

use jobs::contract::TenantId;

use super::{Store, StoreError, db::on, name_of};

const PAGE: &str = "SELECT email, first_name, last_name, company, time_zone, fields FROM prospects \
     WHERE tenant = $1 AND name > $2 ORDER BY name LIMIT $3";
const COUNT: &str = "SELECT count(*) FROM prospects WHERE tenant = $1";
const LONGEST_FIELD_NAME: usize = 64;

/// A person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prospect {
    /// The address, as it is written.
    pub email: String,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The company.
    pub company: Option<String>,
    /// The IANA time zone.
    pub time_zone: Option<String>,
    /// Merge fields of the tenant's own, by name.
    pub fields: BTreeMap<String, String>,
}

impl Prospect {
    /// Everything that a template may name: `email`, `firstName`, `lastName`, `company`, `timeZone`
    /// and the tenant's own fields. What is not known is not there.
    pub fn merge(&self) -> BTreeMap<String, String> {
        let known = [
            ("email", Some(&self.email)),
            ("firstName", self.first_name.as_ref()),
            ("lastName", self.last_name.as_ref()),
            ("company", self.company.as_ref()),
            ("timeZone", self.time_zone.as_ref()),
        ];
        let mut merge = self.fields.clone();
        for (name, value) in known {
            if let Some(value) = value {
                merge.insert(name.to_owned(), value.clone());
            }
        }
        merge
    }
}

/// Whether a text can name a merge field: a letter, then letters, digits and `_`.
pub fn is_field_name(text: &str) -> bool {
    text.len() <= LONGEST_FIELD_NAME
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[derive(sqlx::FromRow)]
struct Row {
    email: String,
    first_name: Option<String>,
    last_name: Option<String>,
    company: Option<String>,
    time_zone: Option<String>,
    fields: String,
}

impl Store {
    /// A page of the tenant's prospects in the order of their addresses, from the one after the
    /// address `after`. An empty page is the end.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn prospects(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Prospect>, StoreError> {
        let rows: Vec<Row> = on!(&self.reader, p => sqlx::query_as(PAGE)
            .bind(tenant.as_str())
            .bind(after.map(name_of).unwrap_or_default())
            .bind(i64::from(limit))
            .fetch_all(p)
            .await)?;
        rows.into_iter().map(Row::read).collect()
    }

    /// How many prospects the tenant has.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn count_prospects(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        let count: i64 = on!(&self.reader, p => sqlx::query_scalar(COUNT)
            .bind(tenant.as_str())
            .fetch_one(p)
            .await)?;
        Ok(count.unsigned_abs())
    }
}

impl Row {
    fn read(self) -> Result<Prospect, StoreError> {
        let fields = serde_json::from_str(&self.fields).map_err(|error| {
            StoreError::Unusable(format!("the merge fields of a prospect: {error}"))
        })?;
        Ok(Prospect {
            email: self.email,
            first_name: self.first_name,
            last_name: self.last_name,
            company: self.company,
            time_zone: self.time_zone,
            fields,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_sees_what_is_known() {
        let ada = Prospect {
            email: "ada@example.org".into(),
            first_name: Some("Ada".into()),
            fields: [("plan".to_owned(), "pro".to_owned())].into(),
            ..Prospect::default()
        };
        let merge = ada.merge();
        let names: Vec<&str> = merge.keys().map(String::as_str).collect();
        assert_eq!(names, ["email", "firstName", "plan"]);
        assert_eq!(merge["firstName"], "Ada");
    }
}
