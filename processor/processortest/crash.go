package processortest

import (
	"fmt"

	"github.com/rossby-streams/rossby/processor/internal/disk"
	"github.com/rossby-streams/rossby/processor/internal/engine"
)

// driverMemory is what the state database of a driver may take.
const driverMemory = 8 << 20

// Point is a moment in the life of a commit at which a task may die.
type Point int

const (
	// BeforeAppend is when records have been processed and nothing is durable: what a failed append to the journal leaves.
	BeforeAppend Point = iota
	// AfterAppend is when the commit is durable and nothing of it is published: also what the lost answer of an append, and a
	// failed publication, leave.
	AfterAppend
	// AmidDelivery is when half of the commit's records are published. Commits with one record or none do not come by.
	AmidDelivery
	// AfterDelivery is when all is published, and nobody has noted that it is: also what the lost answer of a publication leaves.
	AfterDelivery
	// AfterStore is when the state database has the commit as well. Tasks without a store on disk do not come by.
	AfterStore
)

// String names the point.
func (p Point) String() string {
	switch p {
	case BeforeAppend:
		return "before append"
	case AfterAppend:
		return "after append"
	case AmidDelivery:
		return "amid delivery"
	case AfterDelivery:
		return "after delivery"
	case AfterStore:
		return "after store"
	}
	return fmt.Sprintf("point(%d)", int(p))
}

// Step is a task at a Point of one of its commits.
type Step struct {
	Task   string // sub-topology and partition
	Commit uint64 // its number, from 1 on
	Point  Point
}

// CrashWhen lets tasks die: crash is asked at every point of every commit from now on, and where it says yes the task loses what it has
// in memory, is restored from its journal, and goes on. Nil ends it. A crash that says yes each time never lets anything happen.
func (d *Driver) CrashWhen(crash func(Step) bool) { d.crash = crash }

// openState gives a task its share of the state database, which is in memory and survives crashes of tasks. It returns the rank of the
// first entry of the journal that the task wants to have.
func (d *Driver) openState(t *task) int {
	d.tb.Helper()
	if !t.engine.NeedsDisk() {
		return 0
	}
	if d.state == nil {
		db, err := disk.Open(disk.Config{Dir: "state", Memory: driverMemory, FS: disk.NewMemFS()})
		if err != nil {
			d.tb.Fatalf("processortest: %v", err)
		}
		d.state = db
		d.tb.Cleanup(func() {
			if err := db.Close(); err != nil {
				d.tb.Errorf("processortest: %v", err)
			}
		})
	}
	from, err := t.engine.OpenDisk(d.state.Space(t.engine.ID()))
	if err != nil {
		d.tb.Fatalf("processortest: %v", err)
	}
	return int(max(from, t.first) - t.first)
}

func (d *Driver) crashes(t *task, c *engine.Commit, p Point) bool {
	d.tb.Helper()
	if d.crash == nil || !d.crash(Step{Task: t.engine.ID(), Commit: c.Number, Point: p}) {
		return false
	}
	t.engine.CloseDisk()
	d.restoreTask(t)
	return true
}
