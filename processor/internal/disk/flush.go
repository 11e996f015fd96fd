package disk

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Epoch counts flushes: what was applied in one is in files when it has ended.
type Epoch uint64

// flushEvery is how often what was applied is written to files.
const flushEvery = 5 * time.Second

// flushes writes what was applied to files, now and then. The library has no log here: a log would write everything once more, a file of it
// that is lost leaves a hole that nobody notices, and one that cannot be written takes the process down. What is lost with a process is
// read again from the journal, which keeps it until it is in files.
type flushes struct {
	mu      sync.Mutex
	open    Epoch // what is applied now belongs to it
	durable Epoch // those up to it are in files
	waiting int64 // bytes of the open epoch
	under   <-chan struct{}
}

// keepFlushing begins a flush now and then, also when nothing more is applied, until the database is closed or has failed.
func (db *DB) keepFlushing(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = db.use(func(p *pebble.DB) error { return db.flushes.some(db, p) }) // whoever uses it next is told of an error
		case <-db.closing:
			return
		case <-db.broken:
			return
		}
	}
}

// some begins a flush of what is waiting, unless one is under way.
func (f *flushes) some(db *DB, p *pebble.DB) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended()
	if f.waiting == 0 || f.under != nil {
		return nil
	}
	err := f.begin(db, p)
	if err != nil {
		db.fail(err)
	}
	return err
}

// note takes note of a batch that was applied, and begins a flush if much is waiting. It waits for the last one if that has not ended by
// then.
func (f *flushes) note(db *DB, p *pebble.DB, size int64) (Epoch, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = max(f.open, 1)
	f.waiting += size
	f.ended()
	mine := f.open
	if f.waiting < db.table/2 {
		return mine, nil
	}
	if f.under != nil && f.waiting < 2*db.table {
		return mine, nil
	}
	return mine, f.begin(db, p)
}

// begin ends the open epoch, when the one before has ended.
func (f *flushes) begin(db *DB, p *pebble.DB) error {
	if f.under != nil {
		select {
		case <-f.under:
		case <-db.broken:
			return *db.failed.Load()
		}
		f.ended()
	}
	under, err := p.AsyncFlush()
	if err != nil {
		return err
	}
	f.under, f.waiting = under, 0
	f.open++
	return nil
}

// ended looks whether the flush that is under way has ended.
func (f *flushes) ended() {
	select {
	case <-f.under:
		f.under, f.durable = nil, f.open-1
	default:
	}
}

// all flushes everything, unless the database has failed.
func (f *flushes) all(db *DB, p *pebble.DB) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if db.failed.Load() != nil {
		return
	}
	if err := f.begin(db, p); err != nil {
		db.fail(err)
		return
	}
	select {
	case <-f.under:
	case <-db.broken:
	}
}

// Durable returns the last epoch that is in files.
func (db *DB) Durable() Epoch {
	db.flushes.mu.Lock()
	defer db.flushes.mu.Unlock()
	db.flushes.ended()
	return db.flushes.durable
}

// Durable returns the last epoch that is in files.
func (s *Space) Durable() Epoch { return s.db.Durable() }
