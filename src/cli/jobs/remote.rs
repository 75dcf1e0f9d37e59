//! Which façade a command talks to, and with which key.

use std::{fs, time::Duration};

use clap::Args;
use secrecy::SecretString;

use crate::{
    cli::{Failure, output::printable},
    client::{Answer, Client, ClientError},
};

/// How long a façade may be out of reach, or ask for patience, before a command gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// The façade that is asked.
#[derive(Debug, Clone, Args)]
pub struct RemoteArgs {
    /// The façade's address: http:// or https://, a host, and a port if it is not the usual one
    #[arg(long, value_name = "URL", env = "POSTRIDER_CLIENT_URL")]
    pub url: Option<String>,
    /// The API key, or @FILE that holds it
    #[arg(long, value_name = "KEY|@FILE", env = "POSTRIDER_CLIENT_KEY", hide_env_values = true)]
    pub key: Option<String>,
}

impl RemoteArgs {
    /// A client of that façade.
    pub(super) fn client(&self, default_url: &str) -> Result<Client, Failure> {
        let url = self.url.as_deref().unwrap_or(default_url);
        let Some(key) = &self.key else {
            return Err(Failure::config(
                "which key? Give --key KEY, --key @FILE or POSTRIDER_CLIENT_KEY",
            ));
        };
        let key = match key.strip_prefix('@') {
            None => key.clone(),
            Some(file) => fs::read_to_string(file)
                .map_err(|e| Failure::config(format!("--key: cannot read {file}: {e}")))?
                .trim()
                .to_owned(),
        };
        Ok(Client::new(url, SecretString::from(key))?)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Away { .. } => Self::unavailable(error.to_string()),
            ClientError::Address(_) | ClientError::Untrusted { .. } => {
                Self::config(format!("--url: {error}"))
            }
            ClientError::Key => Self::config(format!("--key: {error}")),
        }
    }
}

/// A refusal in words, with the exit code that goes with it.
pub(super) fn refused(answer: &Answer) -> Failure {
    let said = answer.body["message"].as_str().unwrap_or("nothing that could be understood");
    let sentence = format!("the façade answered {}: {}", answer.status, printable(said));
    match answer.status {
        401 | 403 => Failure::config(sentence),
        400 | 404..=499 if answer.status != 429 => Failure::data(sentence),
        _ => Failure::unavailable(sentence),
    }
}
