//! Which leases an instance takes and which it passes on, so that each has its part. Pure: all instances come to the same
//! answer from the same pulse.

use std::collections::{BTreeMap, BTreeSet};

use super::lanes::queue_of;
use crate::message::Text;
use crate::store::{Fence, Pulse};

/// What to ask at the next beat.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub take: Vec<Text>,
    pub pass_on: Vec<Fence>,
}

/// What `instance`, which holds `held`, does next. A lane stays where it is unless its holder has more than its part of the
/// queue; the rest goes to who has least of those that want it.
pub fn plan(instance: &Text, held: &[Fence], pulse: &Pulse) -> Plan {
    let owners = owners(pulse);
    let mine = |name: &Text| owners.get(name).is_some_and(|owner| owner == instance);
    let free = |name: &Text| !pulse.leases.iter().any(|lease| lease.name == *name && lease.holder.is_some());
    let held_already = |name: &Text| held.iter().any(|fence| fence.lease == *name);
    Plan {
        take: owners.keys().filter(|name| mine(name) && free(name) && !held_already(name)).cloned().collect(),
        pass_on: held.iter().filter(|fence| !mine(&fence.lease)).cloned().collect(),
    }
}

fn owners(pulse: &Pulse) -> BTreeMap<Text, Text> {
    let mut wanted: BTreeMap<&Text, BTreeSet<&Text>> = BTreeMap::new();
    for (instance, names) in &pulse.wants {
        for name in names {
            wanted.entry(name).or_default().insert(instance);
        }
    }
    // Each queue by itself, so that a busy one is shared by all.
    let mut queues: BTreeMap<Text, Vec<(&Text, BTreeSet<&Text>)>> = BTreeMap::new();
    for (name, who) in wanted {
        queues.entry(queue_of(name)).or_default().push((name, who));
    }
    let holders: BTreeMap<&Text, &Text> =
        pulse.leases.iter().filter_map(|lease| Some((&lease.name, lease.holder.as_ref()?))).collect();
    let mut total: BTreeMap<&Text, usize> = BTreeMap::new();
    let mut owners = BTreeMap::new();
    for lanes in queues.into_values() {
        let living: BTreeSet<_> = lanes.iter().flat_map(|(_, who)| who).collect();
        let part = lanes.len().div_ceil(living.len().max(1));
        let mut load: BTreeMap<&Text, usize> = BTreeMap::new();
        let mut left = Vec::new();
        for (name, who) in &lanes {
            let stays = holders.get(name).filter(|holder| {
                who.contains(**holder) && (load.get(**holder).is_none_or(|count| *count < part) || who.len() == 1)
            });
            match stays {
                Some(holder) => {
                    *load.entry(holder).or_default() += 1;
                    *total.entry(holder).or_default() += 1;
                    owners.insert((*name).clone(), (*holder).clone());
                }
                None => left.push((name, who)),
            }
        }
        for (name, who) in left {
            let count = |counts: &BTreeMap<&Text, usize>, who: &Text| counts.get(who).copied().unwrap_or(0);
            let least = who.iter().min_by_key(|who| (count(&load, who), count(&total, who), **who));
            if let Some(least) = least {
                *load.entry(least).or_default() += 1;
                *total.entry(least).or_default() += 1;
                owners.insert((*name).clone(), (*least).clone());
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Lease;

    fn names(from: usize, to: usize) -> Vec<Text> {
        (from..to).map(|n| Text::from(format!("q#{n}"))).collect()
    }

    fn fences(from: usize, to: usize) -> Vec<Fence> {
        names(from, to).into_iter().map(|lease| Fence { lease, epoch: 1 }).collect()
    }

    /// Instances with what each wants, and leases with their holders.
    fn pulse(wants: &[(&str, Vec<Text>)], holders: &[(&str, Vec<Text>)]) -> Pulse {
        let lease = |name: &Text, holder: &str| Lease { name: name.clone(), holder: Some(holder.into()) };
        Pulse {
            wants: wants.iter().map(|(who, names)| (Text::from(*who), names.clone())).collect(),
            leases: holders.iter().flat_map(|(who, names)| names.iter().map(move |name| lease(name, who))).collect(),
            ..Pulse::default()
        }
    }

    #[test]
    fn one_alone_takes_all() {
        let plan = plan(&"a".into(), &[], &pulse(&[("a", names(0, 4))], &[]));
        assert_eq!(plan, Plan { take: names(0, 4), pass_on: Vec::new() });
    }

    #[test]
    fn a_second_is_given_its_half_and_then_nothing_moves() {
        let wants = [("a", names(0, 4)), ("b", names(0, 4))];
        let begun = pulse(&wants, &[("a", names(0, 4))]);
        assert_eq!(plan(&"a".into(), &fences(0, 4), &begun), Plan { take: Vec::new(), pass_on: fences(2, 4) });
        assert_eq!(plan(&"b".into(), &[], &begun), Plan::default());
        let passed = pulse(&wants, &[("a", names(0, 2))]);
        assert_eq!(plan(&"b".into(), &[], &passed), Plan { take: names(2, 4), pass_on: Vec::new() });
        let balanced = pulse(&wants, &[("a", names(0, 2)), ("b", names(2, 4))]);
        assert_eq!(plan(&"a".into(), &fences(0, 2), &balanced), Plan::default());
    }

    #[test]
    fn the_living_take_what_the_dead_had_and_keep_what_they_have() {
        let wants = [("a", names(0, 6)), ("c", names(0, 6))];
        let pulse = pulse(&wants, &[("a", names(0, 2)), ("c", names(4, 6))]);
        assert_eq!(plan(&"a".into(), &fences(0, 2), &pulse).take, names(2, 3));
        assert_eq!(plan(&"c".into(), &fences(4, 6), &pulse).take, names(3, 4));
    }

    #[test]
    fn what_only_one_wants_stays_with_it() {
        let pulse = pulse(&[("a", names(0, 4)), ("b", Vec::new())], &[("a", names(0, 4))]);
        assert_eq!(plan(&"a".into(), &fences(0, 4), &pulse), Plan::default());
        let unwanted = plan(&"b".into(), &fences(9, 10), &pulse);
        assert_eq!(unwanted, Plan { take: Vec::new(), pass_on: fences(9, 10) });
    }
}
