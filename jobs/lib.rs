//! What Postrider does: the kinds of jobs, and the contract they keep with the engine.
//!
//! One file is one kind is one type. A job knows nothing of the engine: it gets a payload and a
//! [`contract::Context`], asks ports, and answers with an [`contract::Outcome`].

pub mod contract;

pub mod bulk_update;
mod send;
pub mod webhook_delivery;

pub use self::{bulk_update::BulkUpdate, send::Send, webhook_delivery::WebhookDelivery};

use contract::Catalogue;

/// The catalogue: every kind, in alphabetical order.
pub fn catalogue() -> Catalogue {
    Catalogue::empty()
        .with::<BulkUpdate>() // one change to many records
        .with::<Send>() // one mail to one person
        .with::<WebhookDelivery>() // an event to one endpoint, or to all that subscribed to it
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// A kind without a line in the catalogue would never run; a line without a file has no home.
    #[test]
    fn the_files_and_the_catalogue_agree() {
        // given
        let mut files: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "rs"))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().replace('_', "-"))
            .filter(|stem| stem != "lib")
            .collect();
        files.sort();
        // when
        let kinds: Vec<&str> = catalogue().kinds().map(|kind| kind.name).collect();
        // then
        assert_eq!(files, kinds);
    }
}
