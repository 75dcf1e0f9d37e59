//! API keys in the store, and the commands that make, list and revoke them.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use jobs::contract::{Catalogue, Moment, ports::Clock};
use postrider::{
    cli::keys::{self, CreateArgs, KeysArgs, KeysDeps, KeysError},
    secrets::{ApiKey, Environment},
    store::{Caller, NewKey, NewKeyError, OnOldSchema, ROTATION_GRACE, RotateError, Store},
};

use super::{Given, NOW, acme, config, dev, on_both, secrets};

fn reader() -> NewKey {
    NewKey { scopes: ["jobs:read".to_owned()].into(), ..NewKey::default() }
}

async fn caller(store: &Store, key: &ApiKey) -> Option<Caller> {
    store.authenticate(key, NOW).await.unwrap()
}

struct Stopped(Moment);

impl Clock for Stopped {
    fn now(&self) -> Moment {
        self.0
    }
}

/// What a command wrote, or why it did not.
async fn command(given: &Given, args: &KeysArgs, json: bool) -> Result<String, KeysError> {
    let (catalogue, clock) = (Catalogue::empty(), Stopped(NOW));
    let deps = KeysDeps { store: &given.store, catalogue: &catalogue, clock: &clock };
    let mut out = Vec::new();
    keys::run(args, &deps, json, &mut out).await?;
    Ok(String::from_utf8(out).unwrap())
}

fn create(tenant: &str) -> CreateArgs {
    CreateArgs {
        tenant: tenant.parse().unwrap(),
        create_tenant: false,
        scopes: Vec::new(),
        environment: Environment::Test,
        label: Some("ci".into()),
        expires_in: None,
    }
}

on_both! {
    async fn a_key_opens_its_tenant_with_its_scopes(given) {
        let key = given.store.create_key(&dev(), &reader(), NOW).await.unwrap();
        let typed: ApiKey = key.reveal().parse().unwrap();
        let expected = Caller {
            tenant: dev(),
            key_id: key.id().to_owned(),
            scopes: BTreeSet::from(["jobs:read".to_owned()]),
        };
        assert_eq!(caller(&given.store, &typed).await, Some(expected));
        // In every process with that pepper, and in no other.
        assert!(caller(&given.again().await, &typed).await.is_some());
        let config = config(&given.url);
        let other = Store::open(&config, given.dir.path(), secrets(2), OnOldSchema::Refuse).await;
        assert_eq!(caller(&other.unwrap(), &typed).await, None);
    }

    async fn unknown_forged_revoked_and_expired_keys_open_nothing(given) {
        let store = &given.store;
        // Never made.
        assert_eq!(caller(store, &ApiKey::generate(Environment::Live)).await, None);
        // The right name with another secret: well-formed, with a right checksum.
        let key = store.create_key(&dev(), &reader(), NOW).await.unwrap();
        let forged = forge(&key);
        assert_eq!(forged.id(), key.id());
        assert_eq!(caller(store, &forged).await, None);
        // Revoked.
        assert!(caller(store, &key).await.is_some());
        assert!(!store.revoke_key(&acme(), key.id(), NOW).await.unwrap(), "another tenant's");
        assert!(caller(store, &key).await.is_some());
        assert!(store.revoke_key(&dev(), key.id(), NOW).await.unwrap());
        assert_eq!(caller(store, &key).await, None);
        assert!(!store.revoke_key(&dev(), key.id(), NOW).await.unwrap(), "once is enough");
        // Expired, to the millisecond.
        let end = NOW.plus(Duration::from_secs(60));
        let new = NewKey { expires_at: Some(end), ..reader() };
        let key = store.create_key(&dev(), &new, NOW).await.unwrap();
        assert!(store.authenticate(&key, end.minus(Duration::from_millis(1))).await.unwrap().is_some());
        assert_eq!(store.authenticate(&key, end).await.unwrap(), None);
    }

    async fn a_tenant_has_three_active_keys_at_most_however_many_are_asked_for_at_once(given) {
        // when
        let creates = (0..12).map(|_| {
            let store = given.store.clone();
            tokio::spawn(async move { store.create_key(&dev(), &reader(), NOW).await })
        });
        let made: Vec<_> = join_all(creates).await.into_iter().map(Result::unwrap).collect();
        // then
        assert_eq!(made.iter().filter(|key| key.is_ok()).count(), 3);
        let refused = made.iter().find_map(|key| key.as_ref().err()).unwrap();
        assert!(matches!(refused, NewKeyError::TooMany(_)) && refused.to_string().contains("revoke one"));
        // Another tenant's do not count, nor do revoked and expired ones.
        given.store.create_key(&acme(), &reader(), NOW).await.unwrap();
        let first = &given.store.keys(&dev()).await.unwrap()[0].id.clone();
        given.store.revoke_key(&dev(), first, NOW).await.unwrap();
        given.store.create_key(&dev(), &reader(), NOW).await.unwrap();
        assert!(given.store.create_key(&dev(), &reader(), NOW).await.is_err());
    }

    async fn a_rotated_key_is_valid_for_72_hours_beside_its_successor(given) {
        let store = &given.store;
        let hour = |hours: u64| NOW.plus(Duration::from_secs(hours * 3_600));
        let new = NewKey { label: Some("crm".into()), ..reader() };
        let old = store.create_key(&dev(), &new, NOW).await.unwrap();
        // when
        let rotated = store.rotate_key(&dev(), old.id(), hour(1)).await.unwrap();
        // then
        assert_eq!(rotated.old_until, hour(73));
        let last = hour(73).minus(Duration::from_millis(1));
        assert!(store.authenticate(&old, last).await.unwrap().is_some());
        assert_eq!(store.authenticate(&old, hour(73)).await.unwrap(), None);
        let caller = store.authenticate(&rotated.key, hour(10_000)).await.unwrap().unwrap();
        assert_eq!((caller.tenant, caller.scopes), (dev(), new.scopes.clone()));
        let [first, second] = &store.keys(&dev()).await.unwrap()[..] else { panic!("two keys") };
        assert_eq!(first.replaced_by.as_deref(), Some(rotated.key.id()));
        assert_eq!((&second.label, second.expires_at), (&new.label, None));
        // A key is rotated once, and its successor again.
        let error = store.rotate_key(&dev(), old.id(), hour(2)).await.unwrap_err();
        assert!(error.to_string().contains(rotated.key.id()), "{error}");
        assert!(store.rotate_key(&dev(), rotated.key.id(), hour(2)).await.is_ok());
    }

    async fn a_rotation_gives_no_key_a_longer_life(given) {
        let store = &given.store;
        let day = |days: u64| NOW.plus(Duration::from_secs(days * 86_400));
        let new = NewKey { expires_at: Some(day(30)), ..reader() };
        let old = store.create_key(&dev(), &new, NOW).await.unwrap();
        // when it is rotated on its last day, the grace ends with it, and the new one lives 30 days
        let rotated = store.rotate_key(&dev(), old.id(), day(29)).await.unwrap();
        assert_eq!(rotated.old_until, day(30));
        assert!(store.authenticate(&rotated.key, day(58)).await.unwrap().is_some());
        assert_eq!(store.authenticate(&rotated.key, day(59)).await.unwrap(), None);
        // What is over is not rotated, and neither is another tenant's.
        for (tenant, now) in [(dev(), day(30)), (acme(), day(1))] {
            let error = store.rotate_key(&tenant, old.id(), now).await.unwrap_err();
            assert!(matches!(error, RotateError::NoKey(_)), "{error}");
        }
    }

    async fn keys_in_their_grace_count_however_many_rotate_at_once(given) {
        let store = &given.store;
        let mut keys = Vec::new();
        for _ in 0..2 {
            keys.push(store.create_key(&dev(), &reader(), NOW).await.unwrap());
        }
        // when
        let rotations = (0..6).map(|n| {
            let (store, id) = (store.clone(), keys[n % 2].id().to_owned());
            tokio::spawn(async move { store.rotate_key(&dev(), &id, NOW).await })
        });
        let made: Vec<_> = join_all(rotations).await.into_iter().map(Result::unwrap).collect();
        // then
        assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "{made:?}");
        assert_eq!(store.keys(&dev()).await.unwrap().len(), 3);
        // When the grace is over, there is a place again.
        let later = NOW.plus(ROTATION_GRACE);
        let other = made.iter().flatten().next().unwrap().key.id().to_owned();
        assert!(store.rotate_key(&dev(), &other, later).await.is_ok());
    }

    async fn the_command_rotates_and_shows_the_new_key_once(given) {
        let old = given.store.create_key(&dev(), &reader(), NOW).await.unwrap();
        let rotate = KeysArgs::Rotate { tenant: dev(), id: old.id().to_owned() };
        // when
        let shown = command(&given, &rotate, false).await.unwrap();
        // then
        let key: ApiKey = shown.lines().next().unwrap().parse().unwrap();
        assert!(caller(&given.store, &key).await.is_some());
        assert!(shown.contains("is valid until 2026-06-13T09:00:00"), "{shown}");
        let listed = command(&given, &KeysArgs::List { tenant: dev() }, false).await.unwrap();
        assert!(listed.contains("rotated") && !listed.contains(key.reveal()), "{listed}");
        assert!(matches!(command(&given, &rotate, true).await, Err(KeysError::Data(_))));
    }

    async fn the_last_use_is_noted_to_the_minute(given) {
        let key = given.store.create_key(&dev(), &reader(), NOW).await.unwrap();
        let mut noted = Vec::new();
        for seconds in [0, 59, 60] {
            let now = NOW.plus(Duration::from_secs(seconds));
            given.store.authenticate(&key, now).await.unwrap();
            let at = given.store.keys(&dev()).await.unwrap()[0].last_used_at.unwrap();
            noted.push(at.since(NOW).as_secs());
        }
        assert_eq!(noted, [0, 0, 60]);
    }

    async fn the_commands_show_a_key_once(given) {
        // when
        let shown = command(&given, &KeysArgs::Create(create("dev")), false).await.unwrap();
        // then
        let key: ApiKey = shown.lines().next().unwrap().parse().unwrap();
        assert_eq!(key.environment(), Environment::Test);
        assert_eq!(caller(&given.store, &key).await.unwrap().scopes, ["jobs:read".to_owned()].into());
        for json in [false, true] {
            let listed = command(&given, &KeysArgs::List { tenant: dev() }, json).await.unwrap();
            assert!(listed.contains(key.id()) && listed.contains("ci"), "{listed}");
            assert!(!listed.contains(key.reveal()), "{listed}");
        }
        // when
        let revoke = KeysArgs::Revoke { tenant: dev(), id: key.id().to_owned() };
        command(&given, &revoke, true).await.unwrap();
        // then
        assert_eq!(caller(&given.store, &key).await, None);
        let listed = command(&given, &KeysArgs::List { tenant: dev() }, false).await.unwrap();
        assert!(listed.contains("revoked"), "{listed}");
        assert!(matches!(command(&given, &revoke, false).await, Err(KeysError::Data(_))));
    }

    async fn the_commands_refuse_what_is_not_there(given) {
        let unknown = CreateArgs { scopes: vec!["mars:write".into()], ..create("dev") };
        let error = command(&given, &KeysArgs::Create(unknown), false).await.unwrap_err();
        assert!(error.to_string().contains("no scope \"mars:write\"; there are jobs:read"), "{error}");

        let nowhere = KeysArgs::Create(create("nowhere"));
        let error = command(&given, &nowhere, false).await.unwrap_err();
        assert!(error.to_string().contains("no tenant \"nowhere\""), "{error}");
        let makes_it = CreateArgs { create_tenant: true, ..create("nowhere") };
        let answer = command(&given, &KeysArgs::Create(makes_it), true).await.unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["tenant"], "nowhere");
    }
}

/// A key with the name of another and a secret of its own, its checksum right.
fn forge(key: &ApiKey) -> ApiKey {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let body = format!("prk_live_{}_{}", key.id(), "x".repeat(43));
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut crc = String::new();
    for _ in 0..6 {
        crc.insert(0, char::from(ALPHABET[rest % 62]));
        rest /= 62;
    }
    format!("{body}_{crc}").parse().unwrap()
}
