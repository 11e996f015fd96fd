package processor

import (
	"cmp"
	"slices"
	"strings"
)

// StoreStats says how much one store of one task holds, or the timers of one operator, in memory or on disk.
type StoreStats struct {
	// SubTopology and Partition name the task.
	SubTopology string
	Partition   int
	// Operator and Store are named as in the topology. Timers are a store as well, "timers" or "wall-timers" by its name.
	Operator, Store string
	// Rows is how many rows there are.
	Rows int
	// Bytes is how large they are in the journal. In memory they take up to a hundred bytes more for each row (see KeyValue), and the values used
	// lately what Go makes of them; on disk they are compressed.
	Bytes int
}

// StoreStats returns what the stores of the tasks that this App runs, or ran at its end, hold, as of the last commit of each; nothing of tasks that have
// not been restored yet. It may be called at any time, while Run runs and after it, and costs the tasks nothing.
func (a *App) StoreStats() []StoreStats {
	var stats []StoreStats
	for key := range a.running.Range {
		r := key.(*runner)
		sizes := r.sizes.Load()
		if sizes == nil {
			continue
		}
		for _, s := range *sizes {
			operator, store, _ := strings.Cut(s.Name, ".")
			stats = append(stats, StoreStats{
				SubTopology: r.sub.name, Partition: r.task.Partition(), Operator: operator, Store: store, Rows: s.Rows, Bytes: s.Bytes,
			})
		}
	}
	slices.SortStableFunc(stats, func(a, b StoreStats) int {
		return cmp.Or(cmp.Compare(a.SubTopology, b.SubTopology), cmp.Compare(a.Partition, b.Partition))
	})
	return stats
}

// measure lets StoreStats see what the task holds now.
func (r *runner) measure() {
	sizes := r.task.StoreSizes()
	r.sizes.Store(&sizes)
}
