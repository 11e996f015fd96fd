package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/stream"
)

// pair is a task with a window store on disk and one in memory to which the same is done.
type pair struct {
	task      *Task
	disk      *DiskWindow[string]
	memory    *Window[string]
	committed []*Commit // commits that the database does not have yet
	journal   [][]byte
	now       int64
	rows      int
	met       []RowID // some that are there or were
}

func newPair(t *testing.T, f *folder) *pair {
	p := new(pair)
	p.task = NewTask(&Plan{App: "app", Name: "sub", Wire: func(t *Task) {
		p.disk = NewDiskWindow(t, "disk", 10_000, stream.JSON[string]())
		p.memory = NewWindow(t, "memory", 10_000, stream.JSON[string]())
	}}, 0, 1<<30)
	from, err := p.task.OpenDisk(f.db.Space("x"))
	require.NoError(t, err)
	require.Zero(t, from)
	return p
}

// work does something to both stores.
func (p *pair) work(t *testing.T, r *rand.Rand) {
	key := fmt.Sprint("k", r.IntN(3))
	at := p.now + 1 - int64(r.IntN(10))*int64(r.IntN(300))
	switch r.IntN(20) {
	case 0:
		for id := range p.memory.Range(key, at, at+50) {
			p.memory.Remove(id)
			p.disk.Remove(id)
			break
		}
	case 1:
		for id, v := range p.memory.Range(key, at, at+5000) {
			require.True(t, p.disk.Set(id, v+"+"))
			require.True(t, p.memory.Set(id, v+"+"))
			if r.IntN(5) == 0 {
				break
			}
		}
	case 2:
		for range 4 { // from the end
			var last RowID
			for id := range p.memory.Range(key, at-3000, at) {
				last = id
			}
			p.memory.Remove(last)
			p.disk.Remove(last)
			want, _ := p.memory.Last(key, at-3000, at)
			got, _ := p.disk.Last(key, at-3000, at)
			require.Equal(t, want, got)
		}
	case 3:
		for range min(len(p.met), 20) { // many are over
			id := p.met[r.IntN(len(p.met))]
			require.Equal(t, p.memory.Set(id, "again"), p.disk.Set(id, "again"))
			if r.IntN(9) == 0 {
				p.memory.Remove(id)
				p.disk.Remove(id)
			}
		}
	case 4:
		p.now += int64(r.IntN(800))
		require.NoError(t, p.task.Advance(p.now))
	default:
		for range 1 + r.IntN(8)*r.IntN(8)*r.IntN(8) { // many of one time
			p.rows++
			v := fmt.Sprintf("v%d%s", p.rows, strings.Repeat(".", r.IntN(100)))
			require.Equal(t, p.memory.Add(key, at, v), p.disk.Add(key, at, v))
			if r.IntN(500) == 0 {
				p.met = append(p.met, RowID{Key: key, At: at, Seq: p.memory.seq})
			}
		}
	}
}

// commit commits, and lets the database have a commit, or not.
func (p *pair) commit(t *testing.T, r *rand.Rand) {
	c, err := p.task.Commit("o", true)
	require.NoError(t, err)
	p.journal = append(p.journal, c.Data)
	p.task.Appended(c.Number, uint64(len(p.journal)))
	p.committed = append(p.committed, c)
	for len(p.committed) > r.IntN(3) {
		c := p.committed[0]
		require.NoError(t, c.Store(c.Number))
		p.check(t, r) // the database has it, and the task does not know
		p.task.Delivered(c.Number)
		p.committed = p.committed[1:]
	}
}

// check compares what the stores say of spans of time.
func (p *pair) check(t *testing.T, r *rand.Rand) {
	require.NoError(t, p.task.Err())
	require.Equal(t, p.memory.Len(), p.disk.Len())
	from := p.now - int64(r.IntN(11_000))
	to := from + []int64{0, 10, 1000, 20_000}[r.IntN(4)]
	key := fmt.Sprint("k", r.IntN(3))
	type row struct {
		id    RowID
		value string
	}
	collect := func(s RowStore[string], most int) (rows []row) {
		for id, v := range s.Range(key, from, to) {
			if rows = append(rows, row{id, v}); len(rows) == most {
				break
			}
		}
		return rows
	}
	switch r.IntN(4) {
	case 0:
		want, wantOK := p.memory.Last(key, from, to)
		got, ok := p.disk.Last(key, from, to)
		require.Equal(t, wantOK, ok)
		require.Equal(t, want, got)
	case 1:
		require.Equal(t, p.memory.Count(key, from, to), p.disk.Count(key, from, to))
	case 2:
		most := 1 + r.IntN(20)
		require.Equal(t, collect(p.memory, most), collect(p.disk, most))
	case 3:
		require.Equal(t, collect(p.memory, -1), collect(p.disk, -1))
		require.Equal(t, p.memory.Rows(key, from, to), p.disk.Rows(key, from, to))
	}
}

// restored commits, and reads everything back from the journal, of which nothing has been trimmed, into an empty folder.
func (p *pair) restored(t *testing.T) *pair {
	p.commit(t, rand.New(rand.NewPCG(1, 1)))
	f := &folder{fs: vfs.NewCrashableMem()}
	f.start(t)
	t.Cleanup(func() { require.NoError(t, f.db.Close()) })
	again := newPair(t, f)
	for i, data := range p.journal {
		require.NoError(t, again.task.Restore(uint64(i+1), data))
	}
	_, err := again.task.Restored()
	require.NoError(t, err)
	return again
}

// TestWindowOnDiskIsOneInMemory does the same to both: few keys with many rows each, many of one time, more than may be in memory, with commits that
// the database gets later, and work that is taken back.
func TestWindowOnDiskIsOneInMemory(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			f := &folder{fs: vfs.NewCrashableMem()}
			f.start(t)
			defer func() { require.NoError(t, f.db.Close()) }()
			p, r := newPair(t, f), rand.New(rand.NewPCG(seed, 1))
			if seed%2 == 0 {
				p.disk.paging = paging{few: 2, page: 5}
			}
			for range 800 {
				if r.IntN(10) == 0 {
					mark := p.task.Mark()
					p.work(t, r)
					p.task.Rollback(mark)
				} else {
					p.work(t, r)
					p.task.keep()
				}
				p.check(t, r)
				if r.IntN(8) == 0 {
					p.commit(t, r)
				}
			}
			require.Greater(t, p.rows, 15_000)
			again := p.restored(t)
			for i := range 3 {
				key := fmt.Sprint("k", i)
				require.Equal(t, p.memory.Rows(key, 0, p.now+1), again.disk.Rows(key, 0, p.now+1))
				require.Equal(t, p.memory.Rows(key, 0, p.now+1), again.memory.Rows(key, 0, p.now+1))
			}
			keys := map[string]bool{}
			for key := range p.disk.Keys() {
				keys[key] = true
			}
			require.Len(t, keys, 3)
		})
	}
}

// TestWindowOnDiskWhileItIsVisited changes and reads a store in the middle of a visit, so that what is in memory of the key moves.
func TestWindowOnDiskWhileItIsVisited(t *testing.T) {
	f := &folder{fs: vfs.NewCrashableMem()}
	f.start(t)
	defer func() { require.NoError(t, f.db.Close()) }()
	p := newPair(t, f)
	const rows = 2_000
	for i := range rows {
		p.disk.Add("k", int64(i/3), fmt.Sprint(i))
		p.disk.Add("other", int64(i/3), fmt.Sprint(i))
	}
	p.commit(t, rand.New(rand.NewPCG(1, 1)))
	for round := range 2 {
		i := 0
		for id, v := range p.disk.Range("k", 0, rows) {
			require.Equal(t, fmt.Sprint(i), strings.TrimSuffix(v, "+"))
			if i%5 == 0 {
				require.True(t, p.disk.Set(id, v+"+"))
			}
			if i%7 == 0 {
				require.Equal(t, 3, p.disk.Count("other", int64(i%600), int64(i%600)))
			}
			if i%50 == 49 {
				p.disk.release(p.disk.keys["k"])
			}
			if i%100 == 99 {
				_, ok := p.disk.Last("k", 0, int64(i%600))
				require.True(t, ok)
			}
			i++
		}
		require.Equal(t, rows, i, round)
	}
}

// TestSegmentsLeaveTheDatabase: what is over takes no room, and neither do values that expire.
func TestSegmentsLeaveTheDatabase(t *testing.T) {
	m := newDiskMachine(t, onDisk{kv: true, exp: true, win: true})
	defer m.close(t)
	rows := func() (n int) {
		for _, err := range m.folder.db.Space(m.task.ID()).From([]byte("d"), nil) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	for i := range 50 {
		require.NoError(t, m.task.Advance(int64(i)))
		m.win.Add(fmt.Sprint("k", i), int64(i), "v")
		m.exp.Put(fmt.Sprint("k", i), "v")
	}
	m.commit(t)
	require.Equal(t, 100, rows())
	for i := range 50 { // put again, they move
		m.exp.Put(fmt.Sprint("k", i), "w")
	}
	m.commit(t)
	require.Equal(t, 100, rows())
	require.NoError(t, m.task.Advance(10_000))
	m.commit(t)
	require.Zero(t, rows())
	require.Zero(t, m.win.Len()+m.exp.Len())
	m.win.Add("k", 10_000, strings.Repeat("v", 1000)) // over before they are committed
	m.exp.Put("k", strings.Repeat("v", 1000))
	require.NoError(t, m.task.Advance(20_000))
	m.commit(t)
	require.Less(t, len(m.journal[m.seq]), 500)
	require.Zero(t, rows()+m.win.Len()+m.exp.Len())
}

// TestWindowsBesideTheDatabaseAreBounded reads more than may be in memory, of its own task and of one that follows it, also of one key.
func TestWindowsBesideTheDatabaseAreBounded(t *testing.T) {
	f := &folder{fs: vfs.NewCrashableMem()}
	f.start(t)
	defer func() { require.NoError(t, f.db.Close()) }()
	const rows = 20_000
	var stores []*DiskWindow[string]
	open := func(name string) *Task {
		task := NewTask(&Plan{App: "app", Name: name, Wire: func(t *Task) {
			stores = append(stores, NewDiskWindow(t, "a", 1<<40, stream.JSON[string]()))
		}}, 0, 1<<30)
		_, err := task.OpenDisk(f.db.Space(name))
		require.NoError(t, err)
		return task
	}
	owner, follower := open("owner"), open("follower")
	for i := range rows {
		stores[0].Add(kindKey(i), 1, kindValue(i))
		stores[0].Add("large", int64(i), kindValue(i))
	}
	c, err := owner.Commit("o", true)
	require.NoError(t, err)
	require.NoError(t, c.Store(1))
	owner.Appended(c.Number, 1)
	owner.Delivered(c.Number)
	require.NoError(t, follower.Follow(1, c.Data))
	share := f.db.Space("owner").Share()
	for i := range rows {
		for _, s := range stores {
			want := []string{kindValue(i)}
			one, large, none := s.Rows(kindKey(i), 0, 1), s.Rows("large", int64(i), int64(i)), s.Rows(kindKey(rows+i), 0, 1)
			held := s.weight + s.held()*hotOverhead
			if !slices.Equal(one, want) || !slices.Equal(large, want) || none != nil || held > share+2*(s.paging.page+1)*(hotOverhead+120) {
				require.Fail(t, "wrong", "row %d: %q, %q, one more %q, %d bytes of %d in memory", i, one, large, none, held, share)
			}
		}
	}
	for _, s := range stores {
		require.Len(t, s.Rows("large", 0, rows), rows)
	}
}

// TestWindowMovesBetweenMediums: a window store that moves between memory and disk, or keeps its rows longer or shorter, takes them with it by way
// of the journal.
func TestWindowMovesBetweenMediums(t *testing.T) {
	f := &folder{fs: vfs.NewCrashableMem()}
	f.start(t)
	defer func() { require.NoError(t, f.db.Close()) }()
	var win RowStore[string]
	var journal [][]byte
	open := func(onDisk bool, retention int64) *Task {
		task := NewTask(&Plan{App: "app", Name: "sub", Wire: func(t *Task) {
			NewOnDisk(t, "other", stream.String())
			if onDisk {
				win = NewDiskWindow(t, "win", retention, stream.JSON[string]())
			} else {
				win = NewWindow(t, "win", retention, stream.JSON[string]())
			}
		}}, 0, 1<<20)
		from, err := task.OpenDisk(f.db.Space("x"))
		require.NoError(t, err)
		for i := max(from, 1); i <= uint64(len(journal)); i++ {
			require.NoError(t, task.Restore(i, journal[i-1]))
		}
		_, err = task.Restored()
		require.NoError(t, err)
		return task
	}
	var want []string
	for i, on := range []struct {
		disk      bool
		retention int64
	}{{true, 100}, {false, 100}, {true, 100}, {true, 100}, {true, 1000}, {false, 100}, {true, 50}, {true, 1000}} {
		task := open(on.disk, on.retention)
		require.Equal(t, want, win.Rows("k", 0, 1000), i)
		require.Equal(t, len(want), win.Len())
		want = append(want, fmt.Sprint(i))
		require.NoError(t, task.Advance(int64(10+i)))
		require.True(t, win.Add("k", int64(i), fmt.Sprint(i)))
		c, err := task.Commit("o", true)
		require.NoError(t, err)
		journal = append(journal, c.Data)
		task.Appended(c.Number, uint64(len(journal)))
		require.NoError(t, c.Store(uint64(len(journal))))
	}
}

// TestValuesOnDiskBeginToAge: a store on disk that gets a time to live keeps what it has for so long, whatever happens meanwhile: a crash
// before it has said so in the journal, and a copy that follows.
func TestValuesOnDiskBeginToAge(t *testing.T) {
	f := &folder{fs: vfs.NewCrashableMem()}
	f.start(t)
	defer func() { require.NoError(t, f.db.Close()) }()
	var store *KeyValue[string]
	var journal [][]byte
	open := func(name string, ttl int64) *Task {
		task := NewTask(&Plan{App: "app", Name: "sub", Wire: func(t *Task) {
			store = NewExpiringOnDisk(t, "op.exp", ttl, stream.JSON[string]())
		}}, 0, 1<<20)
		from, err := task.OpenDisk(f.db.Space(name))
		require.NoError(t, err)
		for i := max(from, 1); i <= uint64(len(journal)); i++ {
			require.NoError(t, task.Follow(i, journal[i-1]))
		}
		_, err = task.Restored()
		require.NoError(t, err)
		return task
	}
	commit := func(task *Task) {
		c, err := task.Commit("owner", true)
		require.NoError(t, err)
		journal = append(journal, c.Data)
		task.Appended(c.Number, uint64(len(journal)))
		require.NoError(t, c.Store(uint64(len(journal))))
		task.Delivered(c.Number)
	}
	task := open("a", 0)
	want := map[string]string{}
	for i := range 100 {
		store.Put(fmt.Sprint(i), "kept")
		want[fmt.Sprint(i)] = "kept"
	}
	require.NoError(t, task.Advance(1_000_000))
	commit(task)
	open("a", 1000) // and it dies before it commits
	for range 2 {   // the second start must not make them young again
		task = open("a", 1000)
		require.Equal(t, want, maps.Collect(store.All()))
		require.Equal(t, 100, store.Len())
		require.NoError(t, task.Advance(task.StreamTime()+400))
		commit(task)
	}
	open("b", 1000) // has followed
	require.Equal(t, want, maps.Collect(store.All()))
	task = open("a", 1000)
	require.NoError(t, task.Advance(1_000_000+1001))
	require.Empty(t, maps.Collect(store.All()))
	_, ok := store.Get("7")
	require.False(t, ok)
	now := task.StreamTime()
	for i := range 20_000 {
		now++
		require.NoError(t, task.Advance(now))
		store.Put(fmt.Sprintf("k%d", i), "v")
		require.LessOrEqual(t, store.Len(), 1000+1000/16+2)
		if i%1000 == 999 {
			commit(task)
		}
	}
	require.LessOrEqual(t, len(maps.Collect(store.All())), 1001)
}

// TestWhatRidesAlongIsNotOld has rows ride along while the database does not have the commit that changed them: what it has is older.
func TestWhatRidesAlongIsNotOld(t *testing.T) {
	m := newDiskMachine(t, onDisk{kv: true, exp: true, win: true})
	defer m.close(t)
	put := func(v string) {
		m.kv.Put("k", v)
		m.exp.Put("k", v)
		m.kv.Put("still", "s")
		set := false
		for id := range m.win.Range("k", 0, 100) {
			set = m.win.Set(id, v)
		}
		if !set {
			m.win.Add("k", 7, v)
			m.win.Add("still", 7, "s")
		}
		m.task.changed = true
	}
	put("old")
	m.commit(t)
	put("new")
	pending := m.append(t)
	budget := 1 << 20
	for _, s := range m.task.stores {
		budget = s.rideAlong(budget)
	}
	require.Less(t, budget, 1<<20, "nothing rides along")
	m.append(t)
	require.NoError(t, m.folder.db.Close())
	m.folder = &folder{fs: vfs.NewCrashableMem()}
	m.folder.start(t)
	m.model = model{now: NoTime}
	m.saved = m.model
	m.crash(t)
	v, _ := m.kv.Get("k")
	require.Equal(t, "new", v)
	v, _ = m.exp.Get("k")
	require.Equal(t, "new", v)
	require.Equal(t, []string{"new"}, m.win.Rows("k", 0, 100))
	require.Equal(t, []string{"s"}, m.win.Rows("still", 0, 100))
	require.EqualValues(t, 2, pending.Number)
}

// TestAllWhileValuesMove lets the database have a commit in the middle of a visit of all values, which moves them to another segment.
func TestAllWhileValuesMove(t *testing.T) {
	m := newDiskMachine(t, onDisk{exp: true, kv: true, win: true})
	defer m.close(t)
	require.NoError(t, m.task.Advance(10))
	const keys = 600
	for i := range keys {
		m.exp.Put(fmt.Sprint(i), "old")
	}
	m.commit(t)
	require.NoError(t, m.task.Advance(50))
	for i := range keys {
		m.exp.Put(fmt.Sprint(i), "new")
	}
	pending := m.append(t)
	met := map[string]bool{}
	for key, v := range m.exp.All() {
		require.Equal(t, "new", v)
		require.False(t, met[key], "key %s comes twice", key)
		met[key] = true
		if len(met) == 5 {
			require.NoError(t, pending.Store(m.seq))
		}
	}
	require.Len(t, met, keys)
	m.task.Delivered(pending.Number)
	require.Len(t, maps.Collect(m.exp.All()), keys)
}
