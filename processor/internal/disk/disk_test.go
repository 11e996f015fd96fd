package disk

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// childArg makes the test binary a process that has the folder named next, until its input ends.
const childArg = "hold-a-folder"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childArg {
		db, err := Open(Config{Dir: os.Args[2]})
		fmt.Println(err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

const smallMemory = 8 << 20

func open(t *testing.T, dir string, fs vfs.FS) *DB {
	t.Helper()
	db, err := Open(Config{Dir: dir, Memory: smallMemory, FS: fs})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func set(t *testing.T, s *Space, from, to int) {
	t.Helper()
	b := s.NewBatch()
	for i := from; i < to; i++ {
		b.Set(fmt.Appendf(nil, "k%05d", i), fmt.Appendf(nil, "value %d", i))
	}
	_, err := b.Apply()
	require.NoError(t, err)
}

func keysOf(t *testing.T, s *Space, prefix, start string) (keys []string) {
	t.Helper()
	var from []byte
	if start != "" {
		from = []byte(start)
	}
	for pair, err := range s.From([]byte(prefix), from) {
		require.NoError(t, err)
		keys = append(keys, string(pair.Key))
	}
	return keys
}

func TestSpacesAreApart(t *testing.T) {
	db := open(t, t.TempDir(), nil)
	spaces := []*Space{db.Space("app/a-1"), db.Space("app/a-10"), db.Space("app/a")}
	for i, s := range spaces {
		set(t, s, i*1000, (i+1)*1000)
	}
	for i, s := range spaces {
		keys := keysOf(t, s, "k", "")
		require.Len(t, keys, 1000)
		require.Equal(t, fmt.Sprintf("k%05d", i*1000), keys[0])
		value, ok, err := s.Get([]byte(keys[999]))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, fmt.Sprintf("value %d", i*1000+999), string(value))
	}
	require.NoError(t, spaces[0].Drop())
	require.Empty(t, keysOf(t, spaces[0], "", ""))
	_, ok, err := spaces[0].Get([]byte("k00000"))
	require.NoError(t, err)
	require.False(t, ok)
	require.Equal(t, []string{"k01998", "k01999"}, keysOf(t, spaces[1], "k01", "k01998"))
	require.Len(t, keysOf(t, spaces[2], "k02", ""), 1000)
}

// TestForgetting empties some spaces of a database, and then the others.
// TestRanges reads from behind and deletes in one go, of one space among others.
func TestRanges(t *testing.T) {
	db := open(t, t.TempDir(), nil)
	a, b := db.Space("a"), db.Space("b")
	set(t, a, 0, 500)
	set(t, b, 0, 500)
	pair, ok, err := a.Before([]byte("k"), []byte("k00300"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "k00299", string(pair.Key))
	require.Equal(t, "value 299", string(pair.Value))
	_, ok, err = b.Before([]byte("k"), []byte("k00000"))
	require.NoError(t, err)
	require.False(t, ok, "what is before belongs to another space")
	_, ok, err = a.Before([]byte("k003"), []byte("k00300"))
	require.NoError(t, err)
	require.False(t, ok, "what is before does not begin so")

	batch := a.NewBatch()
	batch.Set([]byte("k00100a"), []byte("goes"))
	batch.DeleteRange([]byte("k00100"), []byte("k00400"))
	batch.Set([]byte("k00200"), []byte("stays"))
	_, err = batch.Apply()
	require.NoError(t, err)
	left := keysOf(t, a, "k", "")
	require.Len(t, left, 201)
	require.Equal(t, []string{"k00099", "k00200", "k00400"}, left[99:102])
	require.Len(t, keysOf(t, b, "k", ""), 500)
}

func TestForgetting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	fill := func(names ...string) {
		db, err := Open(Config{Dir: dir, Memory: smallMemory})
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		for _, name := range names {
			set(t, db.Space(name), 0, 10)
		}
		require.ErrorIs(t, Forget(Config{Dir: dir}, "a/"), ErrInUse)
	}
	fill("a/1", "a/2", "ab/1")
	require.NoError(t, Forget(Config{Dir: dir}, "a/"))
	db, err := Open(Config{Dir: dir, Memory: smallMemory})
	require.NoError(t, err)
	require.Empty(t, keysOf(t, db.Space("a/1"), "", ""))
	require.Len(t, keysOf(t, db.Space("ab/1"), "", ""), 10)
	require.NoError(t, db.Close())
	mine := filepath.Join(dir, "notes.txt")
	require.NoError(t, os.WriteFile(mine, nil, 0o600))
	require.NoError(t, Forget(Config{Dir: dir}, "ab/"))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "somebody else's file stays")
	require.NoError(t, os.Remove(mine))
	fill("a/1")
	require.NoError(t, Forget(Config{Dir: dir}, "a/"))
	require.NoDirExists(t, dir)
}

func TestClosingWhileReading(t *testing.T) {
	db := open(t, t.TempDir(), nil)
	s := db.Space("s")
	set(t, s, 0, 1000)
	var last error
	for _, err := range s.From(nil, nil) {
		require.NoError(t, db.Close())
		last = err
	}
	require.ErrorIs(t, last, ErrClosed)
	_, _, err := s.Get([]byte("k"))
	require.ErrorIs(t, err, ErrClosed)
	b := s.NewBatch()
	b.Set([]byte("k"), nil)
	_, err = b.Apply()
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, s.Drop(), ErrClosed)
	require.NoError(t, db.Close())
}

// TestWhatIsAppliedGetsIntoFiles applies one batch and nothing after it: it becomes durable all the same, and is there when the process
// is gone without having closed anything.
func TestWhatIsAppliedGetsIntoFiles(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db, err := openFlushing(Config{Dir: "state", Memory: smallMemory, FS: fs}, time.Millisecond)
	require.NoError(t, err)
	s := db.Space("s")
	b := s.NewBatch()
	b.Set([]byte("k"), []byte("v"))
	epoch, err := b.Apply()
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.Durable() >= epoch }, time.Minute, time.Millisecond)
	left := fs.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, db.Close())
	value, ok, err := open(t, "state", left).Space("s").Get([]byte("k"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "v", string(value))
}

func TestSharesOfValues(t *testing.T) {
	db := open(t, t.TempDir(), nil)
	a, b := db.Space("a"), db.Space("b")
	a.Use(1)
	require.Equal(t, smallMemory/4, a.Share())
	b.Use(3)
	require.Equal(t, smallMemory/16, a.Share())
	a.Use(-1)
	b.Use(-3)
	require.Equal(t, smallMemory/4, b.Share())
}

func TestAFolderIsForOne(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, nil)
	_, err := Open(Config{Dir: dir})
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, "Config.StateDir")
}

func TestAFolderIsForOneProcess(t *testing.T) {
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0], childArg, dir)
	in, err := child.StdinPipe()
	require.NoError(t, err)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	said, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "<nil>\n", said)
	_, err = Open(Config{Dir: dir})
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, in.Close())
	require.NoError(t, child.Wait())
	open(t, dir, nil)
}

// TestDamagedFilesAreNoticed flips bytes of every file in turn, and deletes each: what is read then is right, or an error.
func TestDamagedFilesAreNoticed(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(Config{Dir: dir, Memory: smallMemory})
	require.NoError(t, err)
	for i := range 20 {
		set(t, db.Space("s"), i*5000, (i+1)*5000)
	}
	require.NoError(t, db.Close())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	noticed := 0
	for _, f := range files {
		for _, deleted := range []bool{false, true} {
			copied := t.TempDir()
			require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
			path := filepath.Join(copied, f.Name())
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			for i := len(data) / 3; i < len(data) && i < len(data)/3+64; i++ {
				data[i] ^= 0x55
			}
			if err = os.WriteFile(path, data, 0o600); deleted {
				err = os.Remove(path)
			}
			require.NoError(t, err)
			if err := readAll(t, copied); err != nil {
				require.ErrorContains(t, err, copied)
				require.NotContains(t, err.Error(), "\n")
				noticed++
			}
		}
	}
	require.NotZero(t, noticed)
}

// readAll returns an error, or has found all batches up to one of them: each brings the position that it stands for.
func readAll(t *testing.T, dir string) error {
	t.Helper()
	db, err := Open(Config{Dir: dir, Memory: smallMemory})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // what is damaged may not close well
	n := 0
	for pair, err := range db.Space("s").From(nil, nil) {
		if err != nil {
			return err
		}
		require.Equal(t, fmt.Sprintf("k%05d", n), string(pair.Key))
		require.Equal(t, fmt.Sprintf("value %d", n), string(pair.Value))
		n++
	}
	require.Zero(t, n%5000, "a batch was applied in part")
	return nil
}

// full is a disk with so much room.
type full struct {
	vfs.FS
	left *atomic.Uint64
}

func (f full) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.left.Load()}, nil
}

func TestWritingEndsBeforeTheDiskIsFull(t *testing.T) {
	var left atomic.Uint64
	left.Store(1 << 30)
	fs := full{vfs.NewMem(), &left}
	db := open(t, "state", fs)
	s := db.Space("s")
	set(t, s, 0, 1000)
	left.Store(1 << 20)
	require.ErrorIs(t, fill(s), ErrFull)
	left.Store(1 << 30)
	set(t, s, 0, 1000) // there is room again, and nothing has been harmed
	left.Store(0)
	_, err := Open(Config{Dir: "other", FS: fs})
	require.ErrorIs(t, err, ErrFull)
}

// fill writes until that fails.
func fill(s *Space) error {
	for i := range 100_000 {
		b := s.NewBatch()
		b.Set(fmt.Appendf(nil, "more %d", i), make([]byte, 10_000))
		if _, err := b.Apply(); err != nil {
			return err
		}
	}
	return nil
}

// TestADiskThatFillsUp makes every write fail with "no space left" from some moment on, in tables, in the manifest: the
// database fails with ErrFull, ends in order, and can be opened again with what it had.
func TestADiskThatFillsUp(t *testing.T) {
	for name, fails := range map[string]func(op errorfs.Op) bool{
		"tables":   func(op errorfs.Op) bool { return filepath.Ext(op.Path) == ".sst" },
		"manifest": func(op errorfs.Op) bool { return filepath.Base(op.Path)[0] == 'M' },
		"all":      func(errorfs.Op) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			toggle := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
				write := op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncTo || op.Kind == errorfs.OpFileSyncData
				if write && fails(op) {
					return fmt.Errorf("%s: %w", op.Path, syscall.ENOSPC)
				}
				return nil
			})}
			db, err := Open(Config{Dir: "state", Memory: smallMemory, FS: errorfs.Wrap(mem, toggle)})
			require.NoError(t, err)
			s := db.Space("s")
			set(t, s, 0, 1000)
			toggle.On()
			require.ErrorIs(t, fill(s), ErrFull)
			_, _, err = s.Get([]byte("k00000"))
			require.ErrorIs(t, err, ErrFull, "nothing is read any more: it might be wrong")
			toggle.Off()
			_ = db.Close() // its errors have been told
		})
	}
}
