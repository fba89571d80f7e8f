//! A world for somebody else: the programs without miners, and a guest who deals with the gateway.

use platform::Env;
use sv2_noise::AuthorityPublicKey;

use super::{RunError, RunNode, story};
use crate::scenario::{Plan, Scenario};
use crate::world;

/// What a guest is given: a host of its own, and what an operator would tell a miner.
pub struct Guest {
    /// The guest's host.
    pub env: Env,
    /// Where the gateway listens.
    pub address: String,
    /// The key that signs the gateway's certificate.
    pub authority: AuthorityPublicKey,
    /// A user identity that the gateway accepts.
    pub identity: String,
}

/// Starts the programs as `scenario` configures them, lets `visit` deal with the gateway, and
/// drains them. Miners and steps of the scenario play no part.
///
/// # Errors
/// What kept the programs from starting.
pub fn with_guest<T: Send>(
    scenario: &Scenario,
    plan: &Plan,
    node: RunNode,
    visit: impl AsyncFnOnce(Guest) -> T + Send,
) -> Result<T, RunError> {
    world::run(plan.seed, move |world| async move {
        story::entertain(world, scenario, plan, node.node, visit).await
    })
}
