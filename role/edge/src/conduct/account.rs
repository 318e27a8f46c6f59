//! One account's calls, and the signs in them.

use super::ConductConfig;
use super::number::Destination;
use sansio::WallTime;
use std::collections::VecDeque;
use std::time::Duration;

/// Begun calls remembered, for bursts.
const RECENT_MAX: usize = 32;
/// Countries an account is known to call.
const COUNTRIES_MAX: usize = 24;
/// Numbers remembered, to see a range being walked through.
const NUMBERS_MAX: usize = 32;
/// Foreign numbers within an hour that are many.
const NUMBERS_MANY: usize = 6;
const HOUR: Duration = Duration::from_secs(3600);
const MEGABYTE: u64 = 1_000_000;

/// A sign and what it counts.
#[derive(Debug, Clone, Copy)]
struct Sign(&'static str, f32);

const BURST: Sign = Sign("burst", 12.0);
const NEW_COUNTRY: Sign = Sign("new-country", 8.0);
const PREMIUM: Sign = Sign("premium", 25.0);
const SHORT: Sign = Sign("short-call", 6.0);
const NIGHT: Sign = Sign("night", 5.0);
const MANY_NUMBERS: Sign = Sign("many-numbers", 8.0);
const VOLUME: Sign = Sign("volume", 20.0);

/// What is remembered of an account.
#[derive(Debug, Default)]
pub(super) struct Account {
    score: f32,
    scored: WallTime,
    heard: WallTime,
    signs: Vec<&'static str>,
    /// When calls began, newest last.
    recent: VecDeque<WallTime>,
    countries: Vec<u16>,
    /// Foreign numbers, and when.
    numbers: VecDeque<(u32, WallTime)>,
    /// Media of the hour that began then.
    volume: (WallTime, u64),
}

impl Account {
    pub(super) fn call_started(&mut self, at: WallTime, to: &Destination, config: &ConductConfig) {
        self.heard = at;
        self.recent.push_back(at);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        let minute = |then: &&WallTime| at.since(**then) < Duration::from_secs(60);
        if self.recent.iter().rev().take_while(minute).count() > config.burst_per_min as usize {
            self.add(at, BURST, config);
        }
        let Destination::Number { country, foreign, premium, number } = *to else { return };
        if premium {
            self.add(at, PREMIUM, config);
        }
        if !foreign {
            return;
        }
        if !self.countries.contains(&country) {
            if self.countries.len() < COUNTRIES_MAX {
                self.countries.push(country);
            }
            self.add(at, NEW_COUNTRY, config);
        }
        if is_night(at, config) {
            self.add(at, NIGHT, config);
        }
        if self.is_one_of_many(at, number) {
            self.add(at, MANY_NUMBERS, config);
        }
    }

    /// `talked` for an answered call abroad.
    pub(super) fn call_ended(
        &mut self,
        at: WallTime,
        (talked, bytes): (Option<Duration>, u64),
        config: &ConductConfig,
    ) {
        if talked.is_some_and(|talked| talked.as_secs() < config.short_s) {
            self.add(at, SHORT, config);
        }
        if at.since(self.volume.0) >= HOUR {
            self.volume = (at, 0);
        }
        let before = self.volume.1;
        self.volume.1 += bytes;
        let limit = config.volume_mb_h.max(1) * MEGABYTE;
        // Once for each time the limit is reached again.
        if self.volume.1 / limit > before / limit {
            self.add(at, VOLUME, config);
        }
    }

    /// The score now.
    pub(super) fn score(&mut self, at: WallTime, config: &ConductConfig) -> f32 {
        let half_life = f32::max(config.half_life_min as f32 * 60.0, 1.0);
        let halves = at.since(self.scored).as_secs_f32() / half_life;
        self.score *= (-halves).exp2();
        self.scored = at;
        if self.score < 1.0 {
            self.signs.clear();
        }
        self.score
    }

    pub(super) fn signs(&self) -> Vec<&'static str> {
        self.signs.clone()
    }

    pub(super) fn heard(&self) -> WallTime {
        self.heard
    }

    /// As if nothing had been seen, but for the countries it calls.
    pub(super) fn clear(&mut self) {
        let countries = std::mem::take(&mut self.countries);
        *self = Self { countries, heard: self.heard, ..Self::default() };
    }

    fn add(&mut self, at: WallTime, Sign(name, points): Sign, config: &ConductConfig) {
        self.score(at, config);
        self.score += points;
        if !self.signs.contains(&name) {
            self.signs.push(name);
        }
    }

    fn is_one_of_many(&mut self, at: WallTime, number: u32) -> bool {
        self.numbers.retain(|(_, then)| at.since(*then) < HOUR);
        if self.numbers.iter().any(|(known, _)| *known == number) {
            return false;
        }
        if self.numbers.len() < NUMBERS_MAX {
            self.numbers.push_back((number, at));
        }
        self.numbers.len() > NUMBERS_MANY
    }
}

fn is_night(at: WallTime, config: &ConductConfig) -> bool {
    let hours = (at.as_secs() / 3600) as i64 + i64::from(config.utc_offset_h);
    let hour = hours.rem_euclid(24) as u8;
    let (from, to) = config.night;
    if from <= to { (from..to).contains(&hour) } else { hour >= from || hour < to }
}
