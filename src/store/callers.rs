//! API keys as what the façade knows callers by.

use async_trait::async_trait;
use jobs::contract::{Fault, ports::Clock};

use super::{Caller, Store};
use crate::{clock::SystemClock, http::auth::Keys, secrets::ApiKey};

#[async_trait]
impl Keys for Store {
    async fn caller(&self, bearer: &str) -> Result<Option<Caller>, Fault> {
        // A typo is refused by its checksum, before any look-up.
        let Ok(key) = bearer.parse::<ApiKey>() else { return Ok(None) };
        Ok(self.authenticate(&key, SystemClock.now()).await?)
    }

    fn is_plausible(&self, bearer: &str) -> bool {
        bearer.parse::<ApiKey>().is_ok()
    }
}
