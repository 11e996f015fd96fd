package processor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/stream"
)

// globals keeps the global tables of a running app up to date.
type globals struct {
	app     *App
	rows    map[string]any
	readers []*stream.Reader
	filling []*filling
	failed  chan error // the first reader that cannot go on
}

// filling is a global table, and how far it has been read.
type filling struct {
	Global
	began time.Time
	read  atomic.Uint64
	left  []atomic.Uint64 // per partition: what the last record said is stored after it
}

// GlobalStats is what an instance knows of one of its global tables.
type GlobalStats struct {
	// Topic is what it is made of.
	Topic string
	// Rows is how many rows are in memory.
	Rows int
	// Read is how many records have been read since Run began, and Left how many are known to be there that have not been read.
	Read, Left uint64
}

// GlobalStats returns how far the global tables of this instance have been filled, by topic: also before Run has begun to run tasks, which it does
// when nothing is left. It may be called at any time.
func (a *App) GlobalStats() []GlobalStats {
	g := a.filled.Load()
	if g == nil {
		return nil
	}
	var stats []GlobalStats
	for _, f := range g.filling {
		stats = append(stats, f.stats())
	}
	slices.SortFunc(stats, func(a, b GlobalStats) int { return cmp.Compare(a.Topic, b.Topic) })
	return stats
}

func (f *filling) stats() GlobalStats {
	s := GlobalStats{Topic: f.Topic.Name, Rows: f.Rows.(interface{ count() int }).count(), Read: f.read.Load()}
	for i := range f.left {
		s.Left += f.left[i].Load()
	}
	return s
}

// openGlobals returns when all rows that there were when it was called are in memory.
func (a *App) openGlobals(ctx context.Context) (*globals, error) {
	g := &globals{app: a, rows: make(map[string]any), failed: make(chan error, 1)}
	for _, table := range a.topology.Globals() {
		g.rows[table.Topic.Name] = table.Rows
		g.filling = append(g.filling, &filling{Global: table, began: time.Now(), left: make([]atomic.Uint64, table.Topic.Partitions)})
	}
	a.filled.Store(g)
	for _, table := range g.filling {
		a.cfg.Logger.Info("filling a global table", zap.String("topic", table.Topic.Name))
		for p := range table.Topic.Partitions {
			reader, err := a.client.OpenReader(ctx, table.Topic, p, stream.ReaderConfig{From: 1, Deliver: g.deliver(table), Failed: g.fail})
			if err != nil {
				g.close()
				return nil, fmt.Errorf("global table %s: %w", table.Topic.Name, err)
			}
			g.readers = append(g.readers, reader)
		}
	}
	if err := g.catchUp(ctx); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *globals) deliver(table *filling) func(stream.Message) {
	return func(m stream.Message) {
		err := table.Apply(m)
		table.read.Add(1)
		table.left[m.Partition].Store(m.Pending)
		switch {
		case err == nil:
		case g.app.topology.policy.then == Stop:
			g.fail(err)
		default:
			g.app.cfg.Logger.Warn("a record of a global table was passed over; its row stays as it was", zap.Error(err))
		}
	}
}

func (g *globals) fail(err error) {
	select {
	case g.failed <- fmt.Errorf("global table: %w", err):
	default: // the app is ending because of another one
	}
}

// catchUpEvery is how often the readers are asked whether they have everything.
const catchUpEvery = 5 * time.Millisecond

func (g *globals) catchUp(ctx context.Context) error {
	tick := time.NewTicker(catchUpEvery)
	defer tick.Stop()
	news := time.NewTicker(restoreNews)
	defer news.Stop()
	for _, r := range g.readers {
		for {
			done, err := r.CaughtUp(ctx)
			if err != nil {
				return err
			}
			if done {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case err := <-g.failed:
				return err
			case <-news.C:
				g.tell("filling a global table")
			case <-tick.C:
			}
		}
	}
	g.tell("a global table is filled")
	select {
	case err := <-g.failed: // a bad record among the last
		return err
	default:
		return nil
	}
}

// tell says how far the tables have been filled.
func (g *globals) tell(news string) {
	for _, f := range g.filling {
		s := f.stats()
		g.app.cfg.Logger.Info(news, zap.String("topic", s.Topic), zap.Int("rows", s.Rows), zap.Uint64("records", s.Read), zap.Uint64("left", s.Left),
			zap.Duration("for", time.Since(f.began)))
	}
}

// watch returns when ctx ends or a table cannot be kept up to date any more.
func (g *globals) watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-g.failed:
		return err
	}
}

func (g *globals) close() {
	for _, r := range g.readers {
		r.Close()
	}
}
