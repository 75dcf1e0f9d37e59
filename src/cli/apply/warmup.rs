//! `[mailboxes.warmup]`: how a mailbox is to be warmed up.

use super::entry::Entry;
use crate::store::{MOST_WARMUP_A_DAY, WarmupSettings};

/// The table in a mailbox' entry, if it has one. What it does not say is as by default.
pub(super) fn take(mailbox: &mut Entry<'_>, text: &str) -> Option<WarmupSettings> {
    let mut table = mailbox.take_table("warmup", text)?;
    let mut settings = WarmupSettings::default();
    if let Some((enabled, _)) = table.take("enabled") {
        settings.enabled = enabled;
    }
    if let Some(word) = table.take_word("warmup_type") {
        settings.warmup_type = word;
    }
    let (least, most) = (1, MOST_WARMUP_A_DAY.into());
    if let Some(volume) = whole(&mut table, "warmup_target_daily_volume", least, most) {
        settings.target_daily_volume = volume;
    }
    if let Some(percent) = whole(&mut table, "reply_rate_percent", 0, 100) {
        settings.reply_rate_percent = percent;
    }
    let is_zone = |name: &str| jiff::tz::TimeZone::get(name).is_ok();
    if let Some(zone) = table.take_text("time_zone", is_zone, "a zone such as Europe/Berlin") {
        settings.time_zone = zone;
    }
    mailbox.end(table);
    Some(settings)
}

/// A whole number from `least` to `most`.
fn whole<T: TryFrom<i64>>(table: &mut Entry<'_>, option: &str, least: i64, most: i64) -> Option<T> {
    let (number, line) = table.take::<i64>(option)?;
    let read = T::try_from(number).ok().filter(|_| (least..=most).contains(&number));
    if read.is_none() {
        table.wrong(option, line, format!("expected {least} to {most}, got {number}"));
    }
    read
}
