package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"
)

// DefaultMemory is the memory that a database takes, in bytes, where nothing else is said.
const DefaultMemory = 256 << 20

// reserve is how much room, in bytes, must be left on the disk: below it, nothing is written, so that what is under way in the
// background still fits. It is counted in tables of memory, which are what is written at once.
const reserve = 4

// checkEvery is how many bytes are written between two looks at the room that is left.
const checkEvery = 4 << 20

// Config says where a database is and what it may take.
type Config struct {
	Dir    string
	Memory int64 // 0: DefaultMemory. A quarter caches what is read, a quarter is for values (see Space.Share), half holds what is not in a file yet.
	Logger *zap.Logger
	FS     vfs.FS // nil: that of the operating system
}

// NewMemFS returns a file system in memory, for databases of tests.
func NewMemFS() vfs.FS { return vfs.NewMem() }

// DB is the database of a process. It is safe for concurrent use.
type DB struct {
	dir     string
	fs      vfs.FS
	table   int64 // size of a table in memory
	log     *zap.Logger
	written atomic.Int64 // since the last look at the room that is left
	flushes flushes
	failed  atomic.Pointer[error]
	broken  chan struct{} // closed when it has failed
	closing chan struct{} // closed when it is about to be closed
	close   sync.Once
	workers sync.WaitGroup
	values  int64        // bytes of values that all stores together may keep
	sharers atomic.Int64 // stores in use
	mu      sync.RWMutex // held for reading while the database is used
	p       *pebble.DB   // nil: closed
}

// Open opens the database in a folder and creates it when it is missing.
func Open(cfg Config) (*DB, error) { return openFlushing(cfg, flushEvery) }

func openFlushing(cfg Config, every time.Duration) (*DB, error) {
	if cfg.Memory <= 0 {
		cfg.Memory = DefaultMemory
	}
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	db := &DB{dir: cfg.Dir, fs: cfg.FS, log: cfg.Logger, table: min(max(cfg.Memory/8, 1<<20), 64<<20), values: cfg.Memory / 4}
	db.broken, db.closing = make(chan struct{}), make(chan struct{})
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder %s: %w", cfg.Dir, err)
	}
	if err := db.room(); err != nil {
		return nil, db.named(err)
	}
	opts := &pebble.Options{
		FS:                          cfg.FS,
		FormatMajorVersion:          pebble.FormatNewest,
		CacheSize:                   max(cfg.Memory/4, 1<<20),
		MemTableSize:                uint64(db.table),
		DisableWAL:                  true, // see flushes
		MemTableStopWritesThreshold: 64,   // flushes.wait comes before, and can be interrupted; so does what fails
		L0StopWritesThreshold:       200,
		Logger:                      logger{db},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { db.fail(err) },
			DataCorruption:  func(info pebble.DataCorruptionInfo) { db.fail(fmt.Errorf("%w (%s)", ErrDamaged, info.Path)) },
		},
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	p, err := pebble.Open(cfg.Dir, opts)
	if err != nil {
		return nil, db.named(err)
	}
	db.p = p
	db.workers.Go(func() { db.keepFlushing(every) })
	return db, nil
}

// ours are the names of the files that a database makes.
var ours = regexp.MustCompile(`^(LOCK|CURRENT|(MANIFEST|OPTIONS)-\d+|marker\..+|\d+\.(sst|blob|log)|temporary\..+)$`)

// Forget empties all spaces whose names begin with prefix, and deletes the files of a database that has nothing else, or is damaged, and the
// folder if nothing else is in it. The error is ErrInUse where somebody uses it.
func Forget(cfg Config, prefix string) error {
	db, err := Open(cfg)
	empty := false
	if err == nil {
		empty, err = db.forget([]byte(prefix))
		err = errors.Join(err, db.Close())
	}
	if errors.Is(err, ErrDamaged) || err == nil && empty {
		return removeFiles(cfg.Dir)
	}
	return err
}

// forget reports whether nothing is left.
func (db *DB) forget(prefix []byte) (empty bool, err error) {
	err = db.use(func(p *pebble.DB) error {
		if err := p.DeleteRange(prefix, after(prefix), pebble.NoSync); err != nil {
			return err
		}
		rest, err := p.NewIter(nil)
		if err != nil {
			return err
		}
		empty = !rest.First()
		return rest.Close()
	})
	return empty, err
}

func removeFiles(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	others := false
	for _, f := range files {
		if !ours.MatchString(f.Name()) {
			others = true
		} else if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			return err
		}
	}
	if others {
		return nil
	}
	return os.Remove(dir)
}

// Close writes what is not in files yet, and ends the background work. Calls after it return ErrClosed.
func (db *DB) Close() (err error) {
	db.close.Do(func() { close(db.closing) })
	db.workers.Wait()
	db.mu.Lock()
	defer db.mu.Unlock()
	p := db.p
	if p == nil {
		return nil
	}
	db.p = nil
	defer db.catch(&err)
	db.flushes.all(db, p)
	if err := p.Close(); err != nil && db.failed.Load() == nil { // else it has been told
		return db.named(err)
	}
	return nil
}

// use calls fn unless the database is closed or has failed.
func (db *DB) use(fn func(p *pebble.DB) error) (err error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if err := db.failed.Load(); err != nil {
		return *err
	}
	if db.p == nil {
		return ErrClosed
	}
	defer db.catch(&err)
	if err := fn(db.p); err != nil {
		return db.named(err)
	}
	if err := db.failed.Load(); err != nil { // meanwhile: what was read may be wrong
		return *err
	}
	return nil
}

// catch makes a failure of a panic of the library.
func (db *DB) catch(err *error) {
	if p := recover(); p != nil {
		cause, ok := p.(error)
		if !ok {
			cause = fmt.Errorf("%v", p)
		}
		db.fail(cause)
		*err = *db.failed.Load()
	}
}

// fail ends the use of the database.
func (db *DB) fail(cause error) {
	err := db.named(cause)
	if db.failed.CompareAndSwap(nil, &err) {
		close(db.broken)
		db.log.Error("the state database has failed", zap.Error(err))
	}
}

// named says where it was, and what can be done about it.
func (db *DB) named(err error) error {
	switch {
	case errors.Is(err, ErrDamaged) || errors.Is(err, ErrFull):
	case pebble.IsCorruptionError(err):
		detail, _, _ := strings.Cut(err.Error(), "\n") // the library says it twice
		err = fmt.Errorf("%w (%s)", ErrDamaged, detail)
	case errors.Is(err, syscall.ENOSPC):
		err = fmt.Errorf("%w (%w)", ErrFull, err)
	case errors.Is(err, syscall.EAGAIN) || strings.Contains(err.Error(), "lock held"):
		err = fmt.Errorf("%w by another process or app: give each its own Config.StateDir (%w)", ErrInUse, err)
	case errors.Is(err, os.ErrNotExist):
		err = fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	return fmt.Errorf("state folder %s: %w", db.dir, err)
}

// room returns ErrFull when too little of the disk is left.
func (db *DB) room() error {
	usage, err := db.fs.GetDiskUsage(db.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	if need := uint64(reserve * db.table); usage.AvailBytes < need {
		return fmt.Errorf("%w (%d bytes are left, %d are kept free)", ErrFull, usage.AvailBytes, need)
	}
	return nil
}

// logger takes what the library has to say. It is called Fatalf when the library would rather end the process; the database ends instead.
type logger struct{ db *DB }

// Infof implements pebble.Logger.
func (logger) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (l logger) Errorf(format string, args ...any) {
	l.db.log.Warn("state database", zap.String("message", fmt.Sprintf(format, args...)))
}

// Fatalf implements pebble.Logger.
func (l logger) Fatalf(format string, args ...any) {
	for _, a := range args {
		if err, ok := a.(error); ok {
			l.db.fail(err)
			return
		}
	}
	l.db.fail(fmt.Errorf(format, args...))
}
