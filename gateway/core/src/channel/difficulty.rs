//! The first target of a channel, and what one is worth.

use std::sync::Arc;

use crate::hashes::Hashes;
use crate::session::DifficultySettings;
use crate::target::{Difficulty, Target};

/// What shares on a target are worth, reckoned once for all the jobs that are sent with it.
#[derive(Debug)]
pub(crate) struct Worth {
    pub(crate) target: Target,
    pub(crate) difficulty: Difficulty,
    /// What a share stands for.
    pub(crate) hashes: Hashes,
}

impl Worth {
    pub(crate) fn of(target: Target) -> Arc<Self> {
        let (difficulty, hashes) = (target.difficulty(), Hashes::of_share(target));
        Arc::new(Self { target, difficulty, hashes })
    }
}

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
