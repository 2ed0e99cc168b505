//! Explores a model and prints the result, which `--nocapture` shows.

use std::{fmt::Debug, hash::Hash, time::Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use super::mutants::{Catcher, Mutant};

/// Two cores explore this many states in less than two minutes.
const MAX_STATES: usize = 300_000;

/// Explores all states of a model.
///
/// Asserts that every "always" property holds, and that every "sometimes" property is possible.
pub fn assert_properties<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let started = Instant::now();
    let properties = model.properties();
    let checker = model.checker().spawn_bfs().join();
    let (states, seconds) = (
        checker.unique_state_count(),
        started.elapsed().as_secs_f64(),
    );
    let discoveries = checker.discoveries();
    println!(
        "model {name}: {states} states, {} deep, {seconds:.1} s",
        checker.max_depth()
    );
    for property in &properties {
        let is_discovered = discoveries.contains_key(property.name);
        let result = match (&property.expectation, is_discovered) {
            (Expectation::Sometimes, true) => "happens",
            (Expectation::Sometimes, false) => "NEVER HAPPENS",
            (_, true) => "IS VIOLATED",
            (_, false) => "holds in every state",
        };
        println!("    {:?} {} {result}", property.expectation, property.name);
    }
    checker.assert_properties();
    assert!(
        states <= MAX_STATES,
        "{name} has {states} states, more than the limit"
    );
}

/// Returns the length and steps of a shortest counterexample; `None` if the properties hold.
pub fn find_counterexample<M>(model: M) -> Option<(usize, String)>
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
    let failures = checker
        .model()
        .properties()
        .into_iter()
        .filter(|property| property.expectation.discovery_is_failure());
    let paths = failures.filter_map(|property| checker.discovery(property.name));
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

/// Asserts that each mutant of a catcher has a counterexample within the bounds of its model.
pub fn assert_mutants_caught<M>(catcher: Catcher, model_of: fn(Mutant) -> M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    for mutant in Mutant::caught_by(catcher) {
        let started = Instant::now();
        let counterexample = find_counterexample(model_of(mutant));
        let (steps, path) = counterexample
            .unwrap_or_else(|| panic!("{mutant:?} is not caught: {}", mutant.description()));
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{:<26} {:<78} {catcher:?}: {steps} steps, {seconds:.1} s",
            format!("{mutant:?}"),
            mutant.description()
        );
        println!("    {path}");
    }
}
