package processor

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/stream"
)

// globals keeps the global tables of a running app up to date.
type globals struct {
	app     *App
	rows    map[string]any
	readers []*stream.Reader
	failed  chan error // the first reader that cannot go on
}

// openGlobals returns when all rows that there were when it was called are in memory.
func (a *App) openGlobals(ctx context.Context) (*globals, error) {
	g := &globals{app: a, rows: make(map[string]any), failed: make(chan error, 1)}
	for _, table := range a.topology.Globals() {
		g.rows[table.Topic.Name] = table.Rows
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

func (g *globals) deliver(table Global) func(stream.Message) {
	return func(m stream.Message) {
		err := table.Apply(m)
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
			case <-tick.C:
			}
		}
	}
	select {
	case err := <-g.failed: // a bad record among the last
		return err
	default:
		return nil
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
