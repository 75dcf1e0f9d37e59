//! How a mailbox is to be warmed up.

use jobs::contract::{Moment, TenantId};

use super::{
    StoreError,
    db::{Tx, on_conn},
};

const PUT: &str = include_str!("queries/warmup_put.sql");

/// The greatest target, in mails a day: warm-up beyond it convinces nobody.
pub const MOST_WARMUP_A_DAY: u32 = 200;

/// How fast the daily volume rises to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmupType {
    /// The slowest.
    Slow,
    /// As most mailboxes bear.
    Normal,
    /// The fastest.
    Fast,
}

impl WarmupType {
    /// The word for it, in files and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Normal => "normal",
            Self::Fast => "fast",
        }
    }
}

impl std::str::FromStr for WarmupType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Slow, Self::Normal, Self::Fast]
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| format!("expected slow, normal or fast, got {text:?}"))
    }
}

/// All that an operator says about the warm-up of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmupSettings {
    /// Whether it is warmed up.
    pub enabled: bool,
    /// How fast its daily volume rises.
    pub warmup_type: WarmupType,
    /// What it rises to, in mails a day: 1 to [`MOST_WARMUP_A_DAY`].
    pub target_daily_volume: u32,
    /// How many of the mails that it gets it answers, in percent.
    pub reply_rate_percent: u8,
    /// The IANA time zone of its day.
    pub time_zone: String,
}

impl Default for WarmupSettings {
    /// Off, since providers frown upon it and an owner must agree; 40 a day, which ramps reach within
    /// six weeks, and 30 % of replies, both as is usual among those who offer warm-up; the day of UTC.
    fn default() -> Self {
        Self {
            enabled: false,
            warmup_type: WarmupType::Normal,
            target_daily_volume: 40,
            reply_rate_percent: 30,
            time_zone: "UTC".to_owned(),
        }
    }
}

/// The settings beside a mailbox, as a join finds them: all NULL where there are none.
#[derive(sqlx::FromRow)]
pub(super) struct WarmupRow {
    warmup_enabled: Option<i64>,
    warmup_type: Option<String>,
    warmup_target_daily_volume: Option<i64>,
    reply_rate_percent: Option<i64>,
    time_zone: Option<String>,
}

impl WarmupRow {
    pub(super) fn read(self) -> Result<Option<WarmupSettings>, StoreError> {
        let (Some(enabled), Some(word), Some(volume), Some(percent), Some(time_zone)) = (
            self.warmup_enabled,
            self.warmup_type,
            self.warmup_target_daily_volume,
            self.reply_rate_percent,
            self.time_zone,
        ) else {
            return Ok(None);
        };
        let broken = |words: String| {
            StoreError::Unusable(format!("the warm-up settings of a mailbox: {words}"))
        };
        Ok(Some(WarmupSettings {
            enabled: enabled != 0,
            warmup_type: word.parse().map_err(broken)?,
            target_daily_volume: u32::try_from(volume).map_err(|e| broken(e.to_string()))?,
            reply_rate_percent: u8::try_from(percent).map_err(|e| broken(e.to_string()))?,
            time_zone,
        }))
    }
}

/// Writes the settings of a mailbox that is there.
pub(super) async fn put(
    tx: &mut Tx,
    tenant: &TenantId,
    name: &str,
    settings: &WarmupSettings,
    now: Moment,
) -> Result<(), StoreError> {
    on_conn!(Tx, tx, c => sqlx::query(PUT)
        .bind(tenant.as_str())
        .bind(name)
        .bind(i64::from(settings.enabled))
        .bind(settings.warmup_type.as_str())
        .bind(i64::from(settings.target_daily_volume))
        .bind(i64::from(settings.reply_rate_percent))
        .bind(&settings.time_zone)
        .bind(now.millis())
        .execute(&mut **c)
        .await
        .map(|_| ()))?;
    Ok(())
}
