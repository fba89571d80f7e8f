//! The first target of a channel.

use crate::session::DifficultySettings;
use crate::target::{Difficulty, Target};

/// The hardest target that is granted.
pub(crate) fn hardest(settings: &DifficultySettings) -> Target {
    Target::from_difficulty(settings.most)
}

/// The easiest target that is granted.
pub(crate) fn easiest(settings: &DifficultySettings) -> Target {
    Target::from_difficulty(settings.least)
}

/// The target for a miner that states this hash rate; zero is none.
pub(crate) fn first_target(settings: &DifficultySettings, rate: f64) -> Target {
    let from_rate = settings
        .aim
        .and_then(|aim| Difficulty::for_hash_rate(rate, aim.shares_per_minute))
        .map(|difficulty| difficulty.clamp(settings.least, settings.most));
    Target::from_difficulty(from_rate.unwrap_or(settings.initial))
}
