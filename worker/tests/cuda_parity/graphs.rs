//! Decode steps as graphs have the bits of those that are started kernel by kernel; and the host waits for chosen tokens alone.

use prelim_kernels::{Backend, Cuda, DeviceError, Pick, Precision};
use prelim_worker::model::{AdapterId, Batch, Chunk, KvCache, Model, PassSizes, Want};

use crate::stand_in::{HostCounts, StandIn};
use crate::{adapters, load};

/// Tokens of prompts, and steps after them: some contexts grow into another block, one into another split.
const PROMPTS: [usize; 3] = [14, 60, 3];
const STEPS: usize = 14;

/// The largest passes here.
const SIZES: PassSizes = PassSizes { pictures: 1, features: 1, tokens: 80, sequences: 4, positions: 96 };

fn blocks(sequence: usize) -> Vec<u32> {
    (0..6).map(|at| (sequence * 6 + at) as u32).collect()
}

fn token(sequence: usize, position: usize) -> u32 {
    2 + (sequence * 31 + position * 7) as u32 % 90
}

/// A batch of sequences, each from a position on, so many tokens.
fn with_batch<R>(
    spans: &[(usize, usize, usize)],
    adapter: Option<AdapterId>,
    run: impl FnOnce(&Batch<'_, Cuda>) -> R,
) -> R {
    let tokens: Vec<Vec<u32>> = spans
        .iter()
        .map(|(sequence, start, count)| (*start..start + count).map(|at| token(*sequence, at)).collect())
        .collect();
    // As many as a sequence has by now, as an engine hands them out.
    let tables: Vec<Vec<u32>> = spans
        .iter()
        .map(|(sequence, start, count)| blocks(*sequence)[..(start + count).div_ceil(16)].to_vec())
        .collect();
    let chunks = spans.iter().zip(&tokens).zip(&tables).map(|(((_, start, _), tokens), blocks)| Chunk {
        start: *start,
        tokens,
        images: Vec::new(),
        blocks,
        adapter,
        logits: Want::Last,
    });
    run(&Batch { chunks: chunks.collect() })
}

/// One pass over such a batch: the bits of its logits.
fn pass(
    model: &Model<Cuda>,
    kv: &mut KvCache<Cuda>,
    spans: &[(usize, usize, usize)],
    adapter: Option<AdapterId>,
) -> Vec<u32> {
    let logits = with_batch(spans, adapter, |batch| model.forward(kv, batch));
    (0..logits.rows()).flat_map(|row| logits.row(row).iter().map(|value| value.to_bits())).collect()
}

/// The bits of all logits of prompts and of the steps after them; the last sequence comes later and leaves earlier.
fn decode(model: &Model<Cuda>, kv: &mut KvCache<Cuda>, adapter: Option<AdapterId>) -> Vec<u32> {
    let mut bits = Vec::new();
    for (sequence, tokens) in PROMPTS.into_iter().enumerate() {
        bits.extend(pass(model, kv, &[(sequence, 0, tokens)], adapter));
    }
    for step in 0..STEPS {
        let sequences = if (4..11).contains(&step) { 3 } else { 2 };
        let all = PROMPTS.into_iter().take(sequences).enumerate();
        let spans: Vec<_> =
            all.map(|(sequence, tokens)| (sequence, tokens + if sequence == 2 { step - 4 } else { step }, 1)).collect();
        bits.extend(pass(model, kv, &spans, adapter));
    }
    bits
}

fn cache(model: &Model<Cuda>) -> KvCache<Cuda> {
    model.new_kv_cache(18, 16).expect("a small cache")
}

/// The same with a cache of its own.
fn decode_anew(model: &Model<Cuda>) -> Vec<u32> {
    decode(model, &mut cache(model), None)
}

fn since(stand_in: &StandIn, before: HostCounts) -> HostCounts {
    let now = stand_in.host_counts();
    HostCounts {
        captured: now.captured - before.captured,
        launched: now.launched - before.launched,
        waits: now.waits - before.waits,
        freed_too_early: now.freed_too_early - before.freed_too_early,
    }
}

/// With memory that passes find at the same places, so that they repeat.
fn reserved(model: Model<Cuda>) -> Model<Cuda> {
    let bytes = model.pass_bytes(SIZES).expect("a device with memory of its own");
    model.backend().reserve_for_passes(2 * bytes).expect("room");
    model
}

#[test]
fn decode_steps_as_graphs_have_the_bits_of_single_kernels() {
    let (_turn, stand_in) = StandIn::turn();
    for precision in [Precision::F16, Precision::Bf16] {
        let before = stand_in.host_counts();
        let wanted = decode_anew(&load(precision));
        let plain = since(stand_in, before);
        assert_eq!((plain.captured, plain.launched), (0, 0), "without memory taken ahead");

        let model = reserved(load(precision));
        let mut kv = cache(&model);
        // Two sequences, then three with a context in two splits, then two: each kind is started step by step when it is first
        // seen, and captured when it is seen again. After that all are replayed.
        for (round, wanted_counts) in [(3, STEPS as u64 - 3), (0, STEPS as u64)].into_iter().enumerate() {
            let before = stand_in.host_counts();
            assert!(decode(&model, &mut kv, None) == wanted, "other bits in {precision:?}, round {round}");
            let counts = since(stand_in, before);
            let found = (counts.captured, counts.launched);
            assert!(!stand_in.is_there() || found == wanted_counts, "round {round}: {counts:?}");
        }
    }
}

/// A graph computes where it was captured: for another batch or another cache it is not taken.
#[test]
fn a_pass_that_differs_from_those_of_graphs_is_started_kernel_by_kernel() {
    let (_turn, stand_in) = StandIn::turn();
    let model = reserved(load(Precision::F16));
    let (mut kv, mut other) = (cache(&model), cache(&model));
    let wanted = decode(&model, &mut kv, None);
    let counted = |kv: &mut KvCache<Cuda>, spans: &[(usize, usize, usize)]| {
        let before = stand_in.host_counts();
        let bits = pass(&model, kv, spans, None);
        (bits, since(stand_in, before).launched)
    };
    let at = |step: usize| [(0, PROMPTS[0] + step, 1), (1, PROMPTS[1] + step, 1)];
    let (last, replayed) = counted(&mut kv, &at(STEPS - 1));
    assert!(wanted.ends_with(&last), "other bits of a step that is done again");
    assert!(!stand_in.is_there() || replayed == 1, "a step that is done again is a graph");
    // The same sequences the other way round have the same graph, and their own tokens.
    let [one, two] = at(STEPS - 1);
    let (turned, replayed) = counted(&mut kv, &[two, one]);
    let (first, second) = last.split_at(last.len() / 2);
    assert!(turned == [second, first].concat(), "other bits of sequences in another order");
    assert!(!stand_in.is_there() || replayed == 1, "the order of sequences is no other graph");
    // One alone was never seen.
    let (alone, replayed) = counted(&mut kv, &[two]);
    assert!(alone == second, "other bits of a sequence alone");
    assert_eq!(replayed, 0, "a batch of another size");
    // Another cache, whose keys the graphs do not know.
    for (sequence, tokens) in PROMPTS.into_iter().enumerate() {
        pass(&model, &mut other, &[(sequence, 0, tokens)], None);
    }
    let (found, replayed) = counted(&mut other, &at(0));
    let vocabulary = model.config().vocabulary;
    assert!(found == wanted[PROMPTS.len() * vocabulary..][..2 * vocabulary], "other bits in another cache");
    assert_eq!(replayed, 0, "another cache");
}

/// Two steps that nobody waits for in between: what the first sends is overwritten only when it has been read.
fn two_steps(stand_in: &StandIn, model: &Model<Cuda>, order: u64, forgotten: u64) -> Vec<Option<(u32, u64)>> {
    let mut kv = cache(model);
    for step in 0..3 {
        // Seen and captured, so that the next are graphs.
        pass(model, &mut kv, &[(0, step, 1)], None);
    }
    let table = &blocks(0)[..1];
    let score = |kv: &mut KvCache<Cuda>, at: usize| {
        let tokens = [token(0, at)];
        let chunk =
            Chunk { start: at, tokens: &tokens, images: Vec::new(), blocks: table, adapter: None, logits: Want::Last };
        model.score(kv, &Batch { chunks: vec![chunk] }).expect("room")
    };
    stand_in.set(c"late", order);
    stand_in.set(c"forget event", forgotten);
    let scores = [score(&mut kv, 3), score(&mut kv, 4)];
    // Nothing can be chosen where a token was read that was never sent.
    let choices = scores.iter().map(|scores| model.choose(scores, &[Pick::default()]).expect("room").remove(0).ok());
    let choices = choices.map(|choice| choice.map(|choice| (choice.token, choice.log_unmasked.to_bits()))).collect();
    stand_in.set(c"forget event", 0);
    stand_in.set(c"late", 1);
    choices
}

#[test]
fn what_a_graph_sends_is_kept_until_it_is_read() {
    let (_turn, stand_in) = StandIn::turn();
    let wanted = two_steps(stand_in, &load(Precision::F16), 1, 0);
    assert!(wanted.iter().all(Option::is_some), "{wanted:?}");
    let model = reserved(load(Precision::F16));
    for order in [0, 1, 2, 3, 5, 7] {
        let before = stand_in.host_counts();
        assert_eq!(two_steps(stand_in, &model, order, 0), wanted, "in order {order}");
        assert!(!stand_in.is_there() || since(stand_in, before).launched >= 2, "in order {order}: no graphs");
    }
    // A host that does not wait for that is found out.
    assert!(!stand_in.is_there() || two_steps(stand_in, &model, 1, 2) != wanted, "nothing shows without the wait");
}

#[test]
fn what_cannot_be_captured_is_started_kernel_by_kernel() {
    let (_turn, stand_in) = StandIn::turn();
    let wanted = decode_anew(&load(Precision::F16));
    stand_in.set(c"capture", 0);
    let before = stand_in.host_counts();
    let found = decode_anew(&reserved(load(Precision::F16)));
    stand_in.set(c"capture", 1);
    let counts = since(stand_in, before);
    assert!(found == wanted, "other bits");
    assert_eq!((counts.captured, counts.launched), (0, 0));
    // A device that does at once what it is asked gives the same.
    stand_in.set(c"late", 0);
    let found = decode_anew(&reserved(load(Precision::F16)));
    stand_in.set(c"late", 1);
    assert!(found == wanted, "other bits of work that is done at once");
}

/// Nothing of a step that finds no memory is started, and when there is some it becomes a graph as any other.
#[test]
fn a_step_that_finds_no_memory_is_not_started() {
    let (_turn, stand_in) = StandIn::turn();
    if !stand_in.is_there() {
        // The memory of a real device is not ours to take.
        return;
    }
    let model = reserved(load(Precision::F16));
    let (mut kv, backend) = (cache(&model), model.backend());
    let wanted = decode(&model, &mut kv, None);
    let memory = backend.memory().expect("memory");
    stand_in.set(c"memory", memory.total_bytes - memory.free_bytes);
    let taken: Vec<_> =
        std::iter::repeat_with(|| backend.buffer(64)).take_while(|_| backend.had_room().is_ok()).collect();
    let spans = [(0, PROMPTS[0] + STEPS - 1, 1), (1, PROMPTS[1] + STEPS - 1, 1)];
    let (before, launches) = (stand_in.host_counts(), stand_in.counts().launches);
    let refused = with_batch(&spans, None, |batch| model.score(&mut kv, batch).err());
    let counts = since(stand_in, before);
    assert!(matches!(refused, Some(DeviceError::OutOfMemory { .. })), "{refused:?}");
    assert_eq!((counts.launched, stand_in.counts().launches), (0, launches), "something was started");
    drop(taken);
    stand_in.set(c"memory", memory.total_bytes);
    // What it computes in lies elsewhere now, so that it is seen and captured again.
    let mut launched = Vec::new();
    for _ in 0..5 {
        let before = stand_in.host_counts();
        assert!(wanted.ends_with(&pass(&model, &mut kv, &spans, None)), "other bits");
        launched.push(since(stand_in, before).launched);
    }
    assert_eq!((launched[0], launched[4]), (0, 1), "graphs launched: {launched:?}");
}

#[test]
fn graphs_of_steps_with_an_adapter_are_other_graphs() {
    let (_turn, _) = StandIn::turn();
    let open = || Cuda::open(0, Precision::F16).expect("the stand-in").with_split(64);
    let make = || adapters::load(open(), prelim_worker::model::WeightType::F32, &adapters::NAMES);
    let (plain, graphs) = (make(), reserved(make()));
    let (mut kv, mut kv_of_graphs) = (cache(&plain), cache(&graphs));
    for adapter in [None, Some(AdapterId(0)), None, Some(AdapterId(1)), Some(AdapterId(0))] {
        let (found, wanted) = (decode(&graphs, &mut kv_of_graphs, adapter), decode(&plain, &mut kv, adapter));
        assert!(found == wanted, "other bits with {adapter:?}");
    }
}

#[test]
fn the_host_waits_for_the_chosen_tokens_and_for_nothing_else() {
    let (_turn, stand_in) = StandIn::turn();
    let model = reserved(load(Precision::F16));
    let mut kv = cache(&model);
    pass(&model, &mut kv, &[(0, 0, 14)], None);
    let table = blocks(0);
    for step in 0..4 {
        let before = stand_in.host_counts();
        let tokens = [token(0, 14 + step)];
        let chunk = Chunk {
            start: 14 + step,
            tokens: &tokens,
            images: Vec::new(),
            blocks: &table,
            adapter: None,
            logits: Want::Last,
        };
        let scores = model.score(&mut kv, &Batch { chunks: vec![chunk] }).expect("room");
        let mask = vec![u32::MAX; model.config().vocabulary.div_ceil(32)];
        let pick = Pick { mask: Some(&mask), likely: 3, ..Pick::default() };
        model.choose(&scores, &[pick]).expect("room")[0].as_ref().expect("a token");
        let waits = since(stand_in, before).waits;
        assert!(!stand_in.is_there() || waits == 1, "step {step}: {waits} waits");
    }
}

/// Whoever scores works out what may be chosen while the device computes: by then all of the pass is started.
#[test]
fn a_pass_is_started_before_its_tokens_are_chosen() {
    let (_turn, stand_in) = StandIn::turn();
    if !stand_in.is_there() {
        // A GPU counts nothing.
        return;
    }
    let model = reserved(load(Precision::F16));
    let mut kv = cache(&model);
    pass(&model, &mut kv, &[(0, 0, 14)], None);
    // Seen, captured, and launched again.
    for (step, graphs) in [0, 1, 1].into_iter().enumerate() {
        let (before, launches) = (stand_in.host_counts(), stand_in.counts().launches);
        let scores = with_batch(&[(0, 14, 1)], None, |batch| model.score(&mut kv, batch).expect("room"));
        assert_eq!(since(stand_in, before).launched, graphs, "step {step}");
        assert_eq!(since(stand_in, before).waits, 0, "step {step}");
        let started = stand_in.counts().launches - launches;
        model.choose(&scores, &[Pick::default()]).expect("room").remove(0).expect("a token");
        let all = stand_in.counts().launches - launches;
        assert!(started > 10 && all - started < 8, "step {step}: {started} of {all} kernels started before the choice");
    }
}

/// Bytes that graphs take in these tests for each of their steps.
const NODE_BYTES: u64 = 1 << 16;

/// Nobody counts ahead what graphs take. Where there is nothing for one more, all are given up, and no request notices.
#[test]
fn a_graph_that_finds_no_memory_is_given_up_with_all_others_and_the_pass_goes_on() {
    let (_turn, stand_in) = StandIn::turn();
    if !stand_in.is_there() {
        // A real driver refuses when it likes.
        return;
    }
    let wanted = decode_anew(&load(Precision::F16));
    let model = reserved(load(Precision::F16));
    let mut kv = cache(&model);
    stand_in.set(c"node bytes", NODE_BYTES);
    let free = || model.backend().memory().expect("memory").free_bytes;
    assert!(decode(&model, &mut kv, None) == wanted, "other bits");
    // All at places of their own, so that no graph fits another's.
    let mut others = Vec::new();
    for (refusal, which) in [(c"refuse launch", 1), (c"refuse launch", 4), (c"refuse upload", 1), (c"refuse upload", 2)]
    {
        let what = format!("{which} of {refusal:?}");
        others.push(cache(&model));
        let other = others.last_mut().expect("the one just made");
        // Graphs of another cache are made beside those that are there, and one of them is refused.
        stand_in.set(refusal, which);
        let before = stand_in.host_counts();
        assert!(decode(&model, other, None) == wanted, "other bits: {what}");
        let counts = since(stand_in, before);
        stand_in.set(refusal, 0);
        let graphs = model.backend().graph_counts().expect("a device that has graphs");
        assert!(counts.launched < STEPS as u64 - 3, "{what}: nothing was refused: {counts:?}");
        // Afterwards all is as before.
        for _ in 0..2 {
            assert!(decode(&model, &mut kv, None) == wanted, "other bits after {what}");
        }
        let more = model.backend().graph_counts().expect("a device that has graphs");
        assert!(more.captured > graphs.captured && more.launched > graphs.launched, "{what}: no graphs afterwards");
    }
    // What graphs took is free again.
    let with_graphs = free();
    let spans = [(0, PROMPTS[0] + STEPS - 1, 1), (1, PROMPTS[1] + STEPS - 1, 1)];
    stand_in.set(c"refuse launch", 1);
    assert!(wanted.ends_with(&pass(&model, &mut kv, &spans, None)), "other bits of a step that was refused");
    stand_in.set(c"refuse launch", 0);
    let given_back = free() - with_graphs;
    assert!(given_back >= 3 * 10 * NODE_BYTES, "{given_back} bytes of graphs were given back");
    stand_in.set(c"node bytes", 0);
}

#[test]
fn no_graph_is_made_where_little_memory_is_left() {
    let (_turn, stand_in) = StandIn::turn();
    if !stand_in.is_there() {
        // The memory of a real device is not ours to take.
        return;
    }
    let wanted = decode_anew(&load(Precision::F16));
    let model = reserved(load(Precision::F16));
    let mut kv = cache(&model);
    // Loads the kernels.
    assert!(decode(&model, &mut kv, None) == wanted, "other bits");
    let memory = model.backend().memory().expect("memory");
    let mut other = cache(&model);
    let used = memory.total_bytes - model.backend().memory().expect("memory").free_bytes;
    for (free, has_graphs) in [(used / 60, false), (used / 20, true)] {
        stand_in.set(c"memory", used + free);
        let before = stand_in.host_counts();
        let found = decode(&model, &mut other, None);
        stand_in.set(c"memory", memory.total_bytes);
        assert!(found == wanted, "other bits with {free} bytes left");
        let counts = since(stand_in, before);
        assert_eq!(counts.captured > 0, has_graphs, "{free} bytes left of {used}: {counts:?}");
    }
}
