//! Runs a model and tells what came of it; `--nocapture` shows it.

use std::{fmt::Debug, hash::Hash, time::Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use super::mutants::{Catcher, Mutant};

/// No model may grow beyond what two minutes of two cores hold, not even by an oversight.
const MOST_STATES: usize = 300_000;

/// Explores all of a model. What must always hold holds, and what must be possible is.
pub fn holds<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let began = Instant::now();
    let properties = model.properties();
    let checker = model.checker().spawn_bfs().join();
    let (states, seconds) = (checker.unique_state_count(), began.elapsed().as_secs_f64());
    let found = checker.discoveries();
    println!(
        "model {name}: {states} states, {} deep, {seconds:.1} s",
        checker.max_depth()
    );
    for property in &properties {
        let word = match (&property.expectation, found.contains_key(property.name)) {
            (Expectation::Sometimes, true) => "is seen",
            (Expectation::Sometimes, false) => "IS NEVER SEEN",
            (_, true) => "IS BROKEN",
            (_, false) => "holds in every state",
        };
        println!("    {:?} {} {word}", property.expectation, property.name);
    }
    checker.assert_properties();
    assert!(
        states <= MOST_STATES,
        "{name} has {states} states; it is not small any more"
    );
}

/// A way to break what must always hold, one of the shortest, and its length; nothing if there is
/// none.
pub fn counterexample<M>(model: M) -> Option<(usize, String)>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let broken = checker
        .model()
        .properties()
        .into_iter()
        .filter(|one| one.expectation.discovery_is_failure());
    let paths = broken.filter_map(|one| checker.discovery(one.name));
    let steps = paths.map(|path| path.into_actions()).min_by_key(Vec::len)?;
    Some((
        steps.len(),
        steps
            .iter()
            .map(|step| format!("{step:?}"))
            .collect::<Vec<_>>()
            .join(" → "),
    ))
}

/// Each mutant that a model is to catch has a counterexample within its bounds.
pub fn catches<M>(catcher: Catcher, bounds: fn(Mutant) -> M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    for mutant in Mutant::caught_by(catcher) {
        let began = Instant::now();
        let found = counterexample(bounds(mutant));
        let (steps, path) =
            found.unwrap_or_else(|| panic!("{mutant:?} is not caught: {}", mutant.says()));
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{:<26} {:<78} {catcher:?}: {steps} steps, {seconds:.1} s",
            format!("{mutant:?}"),
            mutant.says()
        );
        println!("    {path}");
    }
}
