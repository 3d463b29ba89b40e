//! What is committed of a partition: as it is read when a lane begins, and as it is sent.

use domain::offset_map::OffsetMap;
use kafka_io::simulation::Position;

use super::{
    group::Life,
    history::Commits,
    mutant::Mutant,
    outside::{MS, Outside},
    tally::Seen,
    truth::Fault,
};

/// Lanes of a destination that may have a request each on the way when there is no more room.
const LANES: usize = 16;
/// Returns what is committed, and what the process makes of it.
pub(super) fn begun(place: usize, life: Life, out: &mut Outside<'_>) -> (OffsetMap, OffsetMap) {
    let log = &out.group.logs[place];
    let (next, text) = log.committed.clone().unwrap_or_default();
    let decoded = OffsetMap::decode(next, &text);
    if decoded.is_err() {
        out.tally.saw(Seen::MapDamaged);
    }
    let is_whole = decoded.is_ok();
    let map = decoded.unwrap_or_else(|_| OffsetMap::new(next));
    judge_repeats(place, &map, (life, is_whole), out);
    let believed = match out.mutant {
        Some(Mutant::ForgetMap) => OffsetMap::new(next),
        Some(Mutant::ForgetHeads) => shifted(&map, 0),
        _ => map.clone(),
    };
    (map, believed)
}

/// One owner may leave so many more to repeat than it found.
fn judge_repeats(
    place: usize,
    map: &OffsetMap,
    (life, is_whole): (Life, bool),
    out: &mut Outside<'_>,
) {
    let count = out.truth.to_repeat(&out.group.logs[place], map);
    let found = std::mem::replace(&mut out.to_repeat[place], count);
    let rules = &out.setting.destinations[out.known.destinations[place]].rules;
    let most = found + out.setting.repeats_max + rules.concurrency as usize + LANES;
    if is_whole && count > most {
        let what = || format!("{life:?} repeats {count} of partition {place}, at most {most}");
        out.truth.fails(Fault::RepeatsMany, what);
    }
}

/// Returns the positions as a defective engine sends them.
pub(super) fn mutated(positions: Vec<Position>, out: &Outside<'_>) -> Vec<Position> {
    let Some(mutant) = out.mutant else { return positions };
    positions.into_iter().map(|position| mutate(position, mutant)).collect()
}

fn mutate(position: Position, mutant: Mutant) -> Position {
    let Position { partition, next, metadata, changes } = position;
    let map = OffsetMap::decode(next, &metadata).expect("the tracker wrote it");
    let map = match mutant {
        Mutant::HighestCompleted => OffsetMap::new(map.runs().last().map_or(next, |run| run.end)),
        Mutant::OneTooFar => {
            let mut further = map.clone();
            further.advance(next + 1);
            further
        }
        Mutant::MapOffByOne => shifted(&map, 1),
        _ => map,
    };
    let (next, metadata) = (map.commit_point(), map.encode().text);
    Position { partition, next, metadata, changes }
}

/// Returns the map without its heads, and with its runs so much further.
fn shifted(map: &OffsetMap, by: i64) -> OffsetMap {
    let mut shifted = OffsetMap::new(map.commit_point());
    for run in map.runs() {
        shifted.complete(run.start + by..run.end + by);
    }
    shifted
}

/// Returns how long a commit is on its way.
pub(super) fn takes(out: &mut Outside<'_>) -> u64 {
    match out.commits {
        Commits::Slow { ms } => ms * MS,
        Commits::Well | Commits::Failing | Commits::Unheard => out.small(3_000),
    }
}
