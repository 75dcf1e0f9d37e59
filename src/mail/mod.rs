//! Mail: composing, the SMTP driver, the file transport, the table of replies.

use serde::Deserialize;

/// The section `[mail]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {}
