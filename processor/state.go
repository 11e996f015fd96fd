package processor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/processor/internal/disk"
	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// Medium is where the rows of a store are kept; the journal has them, whatever it is. The zero value leaves it to
// Builder.KeepState.
type Medium int

const (
	// InMemory is for state that fits: fastest, and read back from the journal at every start.
	InMemory Medium = iota + 1
	// OnDisk is for state larger than memory: in a database in Config.StateDir, one for all stores of the process, with one memory budget
	// (Config.StateMemory), of which a quarter is for the values used lately. The database is a cache of the journals: it is changed when a commit has been
	// appended and delivered, in one batch with the commit's position in the journal, and written to files every 5 seconds at the latest.
	// After a restart, also after SIGKILL or loss of power, the task goes on from the position that is in files, and the journal is kept
	// until then. A database that is missing, or that belongs to another journal, is built again from the journal, which always has every
	// live value.
	//
	// Errors of the disk (no room, damaged files) end the app with an error that says so; nothing is lost by them.
	OnDisk
)

// String names the medium.
func (m Medium) String() string {
	switch m {
	case InMemory:
		return "in memory"
	case OnDisk:
		return "on disk"
	}
	return fmt.Sprintf("medium(%d)", int(m))
}

// KeepState sets where the stores of the topology are kept that do not say it themselves: without it, in memory. Timers are in memory
// always.
func (b *Builder) KeepState(on Medium) {
	if on != InMemory && on != OnDisk {
		b.mistake(callSite(), "KeepState needs InMemory or OnDisk, got %v", on)
	}
	b.keepState = on
}

// Errors of apps with stores on disk. What Run returns says the folder and what to do.
var (
	// ErrNoStateDir says that a store is on disk and that there is no folder for it.
	ErrNoStateDir = errors.New("a store is on disk, but Config.StateDir names no folder for it")
	// ErrStateInUse says that another process, or another App, uses the folder.
	ErrStateInUse = disk.ErrInUse
	// ErrStateDamaged says that files in the folder are not as they were written.
	ErrStateDamaged = disk.ErrDamaged
	// ErrStateFull says that the disk is full.
	ErrStateFull = disk.ErrFull
)

// openState opens the database of the process, if a store is on disk.
func (a *App) openState() error {
	if !a.topology.needsDisk() {
		return nil
	}
	if a.cfg.StateDir == "" {
		return ErrNoStateDir
	}
	db, err := disk.Open(disk.Config{Dir: a.cfg.StateDir, Memory: a.cfg.StateMemory, Logger: a.cfg.Logger})
	if err != nil {
		return err
	}
	a.state = db
	return nil
}

func (a *App) closeState() error {
	if a.state == nil {
		return nil
	}
	return a.state.Close()
}

func (t *Topology) needsDisk() bool {
	return slices.ContainsFunc(t.subs, func(sub *subTopology) bool { return sub.onDisk })
}

// replay gives the task its state back: from the journal, or from the state database and from what follows in the journal. After follow the journal
// goes on where that has ended.
func (r *runner) replay(ctx context.Context) (entries int, err error) {
	from, err := r.openDisk()
	if err != nil {
		return 0, err
	}
	restore := func(e stream.Entry) error {
		entries++
		r.restoring(e)
		r.stored = append(r.stored, storedEntry{e.Seq, e.Stored})
		return r.task.Restore(e.Seq, e.Data)
	}
	err = r.journal.ReplayFrom(ctx, from, restore)
	if r.isOther(from, err) || err == nil && !r.task.Confirmed() {
		if err := r.forgetDisk(from); err != nil {
			return 0, err
		}
		err = r.journal.ReplayFrom(ctx, 0, restore)
	}
	return entries, err
}

// openDisk gives the task its share of the state database, once, if it has a store there. It says from where on the journal is wanted.
func (r *runner) openDisk() (from uint64, err error) {
	if r.onDisk || !r.task.NeedsDisk() {
		return 0, nil
	}
	r.onDisk = true
	from, err = r.task.OpenDisk(r.app.state.Space(r.app.topology.app + "/" + r.task.ID()))
	if err == nil && from > 0 {
		r.log.Info("goes on from the state database", zap.Uint64("position", from))
	}
	return from, err
}

// isOther reports whether reading the journal from a position has shown that the state database does not go with it, before anything
// was applied.
func (r *runner) isOther(from uint64, err error) bool {
	return errors.Is(err, engine.ErrOtherJournal) || from > 0 && errors.Is(err, stream.ErrTrimmed) && !r.task.Confirmed()
}

// forgetDisk lets the task's share of the state database be built again.
func (r *runner) forgetDisk(from uint64) error {
	r.log.Warn("the state database has state of another journal, or of a part of this one that has been trimmed; it is built again", zap.Uint64("position", from))
	r.stored = nil
	return r.task.DropDisk()
}
