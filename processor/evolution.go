package processor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/processor/internal/engine"
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
	return fmt.Sprintf("the topology cannot go on with the state of app %s: %s; otherwise give the app a new name, under which it begins anew beside the old one, or reset it (processor.Reset) to begin from the start of its topics",
		e.App, strings.Join(parts, "; "))
}

// noteVersion is the format of the note about shapes.
//
//	1: version, levels
//	2: begun beside them; what the values of stores look like
const noteVersion = 2

// shapesNote is what the instances of an app have agreed on: the shape of the state, and those that are to come.
type shapesNote struct {
	Version int     `json:"version"`
	Levels  []level `json:"levels"` // ascending; the first is that of the state as it is
	// Begun are the tasks that have a journal, in order: one of which it is gone has lost its state.
	Begun []string `json:"begun,omitempty"`
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
	active bool     // the state has this instance's shape
	begun  []string // as the note said when it was last read
}

// evolve compares the topology with what earlier ones have left.
func (a *App) evolve(ctx context.Context) (*evolution, error) {
	e := &evolution{app: a, shape: a.topology.shape()}
	note, _, err := e.read(ctx)
	switch {
	case err != nil:
	case note == nil || len(note.Levels) == 0:
		err = e.checkUnnoted(ctx)
	default:
		err = e.check(ctx, note)
	}
	return e, err
}

// checkUnnoted is for an app of which there is no note: it is new, or the note is lost. Then the journals must say that they are of
// this shape.
func (e *evolution) checkUnnoted(ctx context.Context) error {
	journals, err := e.app.client.Journals(ctx)
	if err != nil {
		return err
	}
	mark := e.shape.fingerprint()
	for _, name := range journals {
		if !e.app.topology.hasJournal(name) {
			continue
		}
		tail, err := e.app.client.JournalTail(ctx, name)
		if err != nil {
			return err
		}
		if tail == nil {
			continue
		}
		if of, err := engine.ShapeOf(tail); err != nil || of != mark {
			return &NoteLostError{App: e.app.topology.app, Journal: name}
		}
	}
	return nil
}

// NoteLostError says that there is state of an app, and no note of what topology has made it, so that it cannot be compared with the one
// that is to go on with it: stream _rossby-groups, which has the note, was deleted or lost. Where the state itself shows that it was made by
// the very same topology, the note is written again instead.
type NoteLostError struct {
	App     string
	Journal string // with state that was not, or may not have been, made by this topology
}

// Error names the journal and the ways out.
func (e *NoteLostError) Error() string {
	return fmt.Sprintf("the note about the topology of app %s is lost, and journal %s does not say that it was made by the one that is to go on with it; restore stream _rossby-groups from a backup, run the topology that has made the state once, or, to begin anew on purpose, reset the app (processor.Reset)",
		e.App, e.Journal)
}

// hasBegun says whether a task is known to have a journal. With sure the note is read again.
func (e *evolution) hasBegun(ctx context.Context, task string, sure bool) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if sure {
		if _, _, err := e.read(ctx); err != nil {
			return false, err
		}
	}
	return slices.Contains(e.begun, task), nil
}

// begin notes that a task has a journal.
func (e *evolution) begin(ctx context.Context, task string) error {
	if known, err := e.hasBegun(ctx, task, false); known || err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.update(ctx, func(note *shapesNote) (changed bool, err error) {
		if len(note.Levels) == 0 { // it was lost under this instance
			note.Levels = []level{{Number: e.level, Shape: e.shape}}
		}
		i, found := slices.BinarySearch(note.Begun, task)
		if !found {
			note.Begun = slices.Insert(note.Begun, i, task)
		}
		return !found, nil
	})
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
		note.Begun = slices.DeleteFunc(note.Begun, func(task string) bool { return !e.app.topology.hasJournal(journalOf(e.app.topology.app, task)) })
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
	if err != nil {
		return nil, revision, err
	}
	e.begun = nil
	if data == nil {
		return nil, revision, nil
	}
	if note, err = parseNote(data); err != nil {
		return nil, 0, err
	}
	e.begun = note.Begun
	return note, revision, nil
}

func parseNote(data []byte) (*shapesNote, error) {
	var note shapesNote
	if err := json.Unmarshal(data, &note); err != nil {
		return nil, fmt.Errorf("the note about the state of the app is not readable (restore stream _rossby-groups from a backup, or reset the app): %w", err)
	}
	if note.Version < 1 || note.Version > noteVersion {
		return nil, fmt.Errorf("the note about the state of the app has format %d, this program reads formats 1 to %d (run the version that wrote it)", note.Version, noteVersion)
	}
	return &note, nil
}

// update changes the note, and again if somebody else has changed it meanwhile.
func (e *evolution) update(ctx context.Context, change func(*shapesNote) (bool, error)) error {
	for {
		note, revision, err := e.read(ctx)
		if err != nil {
			return err
		}
		if note == nil {
			note = &shapesNote{}
		}
		note.Version = noteVersion
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
