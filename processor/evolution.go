package processor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"go.uber.org/zap"
)

// EvolutionError says that a topology cannot go on with the state that an earlier one of the same app has left. Nothing was changed, and
// other instances were not disturbed.
type EvolutionError struct {
	App       string
	Conflicts []Conflict // at least one
}

// Conflict is one thing that a topology cannot go on with.
type Conflict struct {
	Part string // the sub-topology
	Was  string // what the state was made by
	Is   string // what the topology has instead
	Plan string // what would let it go on

	partitions int // of the part, then
}

// Error names every conflict and its plan, and the ways out that are always there.
func (e *EvolutionError) Error() string {
	parts := make([]string, len(e.Conflicts))
	for i, c := range e.Conflicts {
		parts[i] = fmt.Sprintf("sub-topology %s: %s, now %s (%s)", c.Part, c.Was, c.Is, c.Plan)
	}
	return fmt.Sprintf("the topology cannot go on with the state of app %s: %s; otherwise give the app a new name, under which it begins anew beside the old one, or delete its journals and its consumer group to begin from the start of its topics",
		e.App, strings.Join(parts, "; "))
}

// noteVersion is the format of the note about shapes.
const noteVersion = 1

// shapesNote is what the instances of an app have agreed on: the shape of the state, and those that are to come.
type shapesNote struct {
	Version int     `json:"version"`
	Levels  []level `json:"levels"` // ascending; the first is that of the state as it is
}

// level is a generation of the app's state.
type level struct {
	Number int   `json:"number"`
	Shape  shape `json:"shape"`
}

// evolution is the place of this instance's topology in the history of the app's state.
type evolution struct {
	app   *App
	shape shape

	mu     sync.Mutex
	level  int
	active bool // the state has this instance's shape
}

// evolve compares the topology with what earlier ones have left.
func (a *App) evolve(ctx context.Context) (*evolution, error) {
	e := &evolution{app: a, shape: a.topology.shape()}
	note, _, err := e.read(ctx)
	if err == nil && note != nil {
		err = e.check(ctx, note)
	}
	return e, err
}

// enrol finds the level of this instance, and notes it if it is a new one.
func (e *evolution) enrol(ctx context.Context) error {
	return e.update(ctx, func(note *shapesNote) (changed bool, err error) {
		if len(note.Levels) == 0 {
			note.Levels = []level{{Number: 1, Shape: e.shape}}
			e.level, e.active = 1, true
			return true, nil
		}
		if err := e.check(ctx, note); err != nil {
			return false, err
		}
		for i, l := range note.Levels {
			if l.Shape.equal(e.shape) {
				e.level, e.active = l.Number, i == 0
				return false, nil
			}
		}
		e.level = note.Levels[len(note.Levels)-1].Number + 1
		note.Levels = append(note.Levels, level{Number: e.level, Shape: e.shape})
		e.app.cfg.Logger.Info("the topology adds to the state of the app; this instance waits until those of the former one have gone",
			zap.String("app", e.app.topology.app), zap.Int("level", e.level))
		return true, nil
	})
}

// activate notes that the state has the shape of this instance from now on. It comes before the first commit of that shape.
func (e *evolution) activate(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.active {
		return nil
	}
	err := e.update(ctx, func(note *shapesNote) (changed bool, err error) {
		if len(note.Levels) > 0 && note.Levels[0].Number == e.level {
			return false, nil
		}
		if err := e.check(ctx, note); err != nil {
			return false, err
		}
		levels := []level{{Number: e.level, Shape: e.shape}}
		for _, l := range note.Levels {
			if l.Number > e.level {
				levels = append(levels, l)
			}
		}
		note.Levels = levels
		return true, nil
	})
	e.active = err == nil
	return err
}

// check compares with the state as it is. What has no journal has no state: it may go.
func (e *evolution) check(ctx context.Context, note *shapesNote) error {
	if len(note.Levels) == 0 {
		return nil
	}
	var kept []Conflict
	has := make(map[string]bool)
	for _, c := range note.Levels[0].Shape.against(e.shape) {
		found, known := has[c.Part]
		if !known {
			var err error
			if found, err = e.hasState(ctx, c); err != nil {
				return err
			}
			has[c.Part] = found
		}
		if found {
			kept = append(kept, c)
		}
	}
	if len(kept) > 0 {
		return &EvolutionError{App: e.app.topology.app, Conflicts: kept}
	}
	return nil
}

// hasState says whether there are journals of a sub-topology with something in them.
func (e *evolution) hasState(ctx context.Context, c Conflict) (bool, error) {
	for p := range c.partitions {
		n, err := e.app.client.JournalMessages(ctx, fmt.Sprintf("%s-%s-%d-journal", e.app.topology.app, c.Part, p))
		if err != nil || n > 0 {
			return n > 0, err
		}
	}
	return false, nil
}

func (e *evolution) read(ctx context.Context) (note *shapesNote, revision uint64, err error) {
	data, revision, err := e.app.client.GroupNote(ctx, membership(e.app.topology.app))
	if err != nil || data == nil {
		return nil, revision, err
	}
	note = &shapesNote{}
	if err := json.Unmarshal(data, note); err != nil {
		return nil, 0, fmt.Errorf("the note about the state of the app is not readable (restore it from a backup, or delete the app's journals): %w", err)
	}
	if note.Version != noteVersion {
		return nil, 0, fmt.Errorf("the note about the state of the app has format %d, this program reads format %d (run the version that wrote it)", note.Version, noteVersion)
	}
	return note, revision, nil
}

// update changes the note, and again if somebody else has changed it meanwhile.
func (e *evolution) update(ctx context.Context, change func(*shapesNote) (bool, error)) error {
	for {
		note, revision, err := e.read(ctx)
		if err != nil {
			return err
		}
		if note == nil {
			note = &shapesNote{Version: noteVersion}
		}
		changed, err := change(note)
		if err != nil || !changed {
			return err
		}
		data, err := json.Marshal(note)
		if err != nil {
			return err
		}
		if done, err := e.app.client.SetGroupNote(ctx, membership(e.app.topology.app), data, revision); err != nil || done {
			return err
		}
	}
}
