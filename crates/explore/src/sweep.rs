//! Many runs side by side: one machine per host thread, results in the order asked for.

use crossbeam::channel;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::thread;

/// Runs `work` on each of `items`, on up to `threads` threads, and hands the results
/// to `each` in the order of `items`, as early as that order allows.
///
/// Each item's work happens on one thread, so determinism inside an item is
/// untouched by how many run beside it.
pub fn in_order<T: Sync, R: Send>(
    items: &[T],
    threads: NonZeroUsize,
    work: impl Fn(&T) -> R + Sync,
    mut each: impl FnMut(&T, R),
) {
    let (todo, jobs) = channel::unbounded();
    for index in 0..items.len() {
        todo.send(index)
            .expect("the receiver is alive in this function");
    }
    drop(todo);
    let (done, results) = channel::unbounded();
    thread::scope(|scope| {
        for _ in 0..threads.get().min(items.len()) {
            let (jobs, done, work) = (jobs.clone(), done.clone(), &work);
            scope.spawn(move || {
                for index in jobs {
                    if done.send((index, work(&items[index]))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (index, result) in results {
            early.insert(index, result);
            while let Some(result) = early.remove(&next) {
                each(&items[next], result);
                next += 1;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn results_come_in_the_order_of_items_whoever_finishes_first() {
        let items = [30, 0, 10, 0];
        let mut seen = Vec::new();
        in_order(
            &items,
            NonZeroUsize::new(4).unwrap(),
            |ms| {
                thread::sleep(Duration::from_millis(*ms));
                *ms
            },
            |item, result| {
                assert_eq!(*item, result);
                seen.push(result);
            },
        );
        assert_eq!(seen, items);
    }
}
