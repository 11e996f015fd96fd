package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/processor/internal/disk"
	"github.com/rossby-streams/rossby/stream"
)

// folder is where a machine has its database.
type folder struct {
	fs *vfs.MemFS
	db *disk.DB
}

func (f *folder) start(t require.TestingT) {
	db, err := disk.Open(disk.Config{Dir: "state", Memory: 8 << 20, FS: f.fs})
	require.NoError(t, err)
	f.db = db
}

// open gives a machine's task its share, and says how many entries of the journal it need not read.
func (f *folder) open(t require.TestingT, m *machine) uint64 {
	if f == nil {
		return 0
	}
	from, err := m.task.OpenDisk(f.db.Space(m.task.ID()))
	require.NoError(t, err)
	return max(from, m.first) - m.first
}

// losePower starts again with what had been synced, and perhaps some more.
func (f *folder) losePower(t *rapid.T) {
	left := f.fs.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "unsynced"), RNG: rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed"))),
	})
	require.NoError(t, f.db.Close())
	f.fs = left
	f.start(t)
}

func newDiskMachine(t require.TestingT, stores onDisk) *machine {
	m := newMachine()
	m.onDisk, m.shadow.onDisk = stores, stores
	for _, of := range []*machine{m, m.shadow} {
		of.folder = &folder{fs: vfs.NewCrashableMem()}
		of.folder.start(t)
	}
	m.crash(t)
	return m
}

func (m *machine) close(t require.TestingT) {
	require.NoError(t, m.folder.db.Close())
	require.NoError(t, m.shadow.folder.db.Close())
}

// TestStateOnDiskSurvivesAnything is TestStateSurvivesAnything with a store on disk beside those in memory, and with all that can
// happen to a database: it is closed and opened, it loses what was not synced, it is deleted; commits end at every step.
func TestStateOnDiskSurvivesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stores := onDisk{kv: rapid.Bool().Draw(t, "kv on disk"), exp: rapid.Bool().Draw(t, "exp on disk"), win: rapid.Bool().Draw(t, "win on disk")}
		stores.kv = stores.kv || !stores.exp && !stores.win
		m := newDiskMachine(t, stores)
		defer m.close(t)
		m.paging = rapid.SampledFrom([]paging{{1, 1}, {1, 2}, usualPaging}).Draw(t, "paging")
		m.crash(t)
		survive(t, m, map[string]func(*rapid.T){
			"close and crash": func(t *rapid.T) {
				require.NoError(t, m.folder.db.Close())
				m.folder.start(t)
				m.crash(t)
			},
			"lose power": func(t *rapid.T) { m.folder.losePower(t); m.crash(t) },
			"delete the folder": func(t *rapid.T) {
				require.NoError(t, m.folder.db.Close())
				m.folder.fs = vfs.NewCrashableMem()
				m.folder.start(t)
				m.crash(t)
			},
			"the copy crashes": func(t *rapid.T) {
				require.NoError(t, m.shadow.folder.db.Close())
				m.shadow.folder.start(t)
				m.shadow.task = nil
			},
			"the copy loses power": func(t *rapid.T) { m.shadow.folder.losePower(t); m.shadow.task = nil },
			"the copy loses its folder": func(t *rapid.T) {
				require.NoError(t, m.shadow.folder.db.Close())
				m.shadow.folder.fs = vfs.NewCrashableMem()
				m.shadow.folder.start(t)
				m.shadow.task = nil
			},
			"the copy follows and is asked": func(t *rapid.T) {
				m.follow(t)
				m.shadow.model = m.saved.clone()
				m.shadow.checkStores(t)
			},
			"the database is looked through": func(t *rapid.T) { m.commit(t); m.checkDisk(t) },
			"crash before the append": func(t *rapid.T) {
				_, err := m.task.Commit("owner", true)
				require.NoError(t, err)
				m.crash(t)
			},
			"crash before the store": func(t *rapid.T) { m.append(t); m.crash(t) },
			"crash after the store": func(t *rapid.T) {
				c := m.append(t)
				require.NoError(t, c.Store(m.seq))
				m.crash(t)
			},
			"work while a commit is under way": func(t *rapid.T) {
				c := m.append(t)
				m.meanwhile(t)
				m.check(t)
				stored := rapid.Bool().Draw(t, "stored")
				if stored {
					require.NoError(t, c.Store(m.seq))
					m.check(t)
				}
				if rapid.Bool().Draw(t, "crash") {
					m.crash(t)
					return
				}
				if !stored {
					require.NoError(t, c.Store(m.seq))
				}
				m.task.Delivered(c.Number)
			},
			"forget what is hot": func(*rapid.T) { m.forgetHot() },
		})
	})
}

// checkDisk compares what is known of the rows on disk with these, when the database has all commits.
func (m *machine) checkDisk(t require.TestingT) {
	for _, b := range m.task.disk.bases {
		rows, live := 0, 0
		for _, row := range b.all() {
			rows++
			live += row.size
			require.GreaterOrEqual(t, row.home, b.oldest())
		}
		require.Equal(t, b.rows, rows)
		require.Equal(t, b.live, live)
		require.Zero(t, b.ahead)
	}
}

// forgetHot lets go of all that the database has.
func (m *machine) forgetHot() {
	for _, s := range []*KeyValue[string]{m.kv, m.exp} {
		for key, e := range s.hot {
			if s.disk != nil && !e.dirty && !s.isPending(e) {
				s.weight -= int(e.size)
				delete(s.hot, key)
			}
		}
	}
	if win, ok := m.win.(*DiskWindow[string]); ok {
		for key, k := range win.keys {
			if win.release(k); len(k.rows) == 0 {
				delete(win.keys, key)
			}
		}
	}
}

// meanwhile changes a row of each store.
func (m *machine) meanwhile(t *rapid.T) {
	k, at := rapid.SampledFrom(keys).Draw(t, "key"), max(m.model.now, rapid.Int64Range(0, 200).Draw(t, "at"))
	if rapid.Bool().Draw(t, "delete") {
		m.kv.Delete(k)
		delete(m.model.kv, k)
		m.exp.Delete(k)
		delete(m.model.exp, k)
		for id, v := range m.win.Range(k, 0, 1000) {
			i := m.model.find(modelRow{id.Key, id.At, v})
			m.model.rows = append(m.model.rows[:i:i], m.model.rows[i+1:]...)
			m.win.Remove(id)
			break
		}
		return
	}
	m.kv.Put(k, "meanwhile")
	m.model.kv[k] = "meanwhile"
	m.exp.Put(k, "meanwhile")
	m.model.exp[k] = modelRow{k, m.model.now, "meanwhile"}
	v := fmt.Sprint("meanwhile ", m.seq)
	require.True(t, m.win.Add(k, at, v))
	m.model.add(modelRow{k, at, v})
}

// append makes a commit that the journal has and nobody else.
func (m *machine) append(t require.TestingT) *Commit {
	c, err := m.task.Commit("owner", true)
	require.NoError(t, err)
	m.seq++
	m.journal[m.seq] = c.Data
	m.task.Appended(c.Number, m.seq)
	m.saved = m.model.clone()
	return c
}

// TestDiskJournalStaysSmall overwrites some rows of a store many times: sweeps must keep the journal short, and the journal alone must
// give everything back.
func TestDiskJournalStaysSmall(t *testing.T) {
	m := newDiskMachine(t, onDisk{kv: true})
	defer m.close(t)
	filler := string(make([]byte, 1000))
	for i := range 300 {
		k := fmt.Sprintf("still %d", i)
		m.kv.Put(k, filler)
		m.model.kv[k] = filler
	}
	m.commit(t)
	first, held, most := m.first, len(m.journal[m.seq]), 0
	sizes := map[uint64]int{m.seq: held}
	for i := range 5000 {
		k := fmt.Sprintf("k%d", i%10)
		m.kv.Put(k, filler)
		m.model.kv[k] = filler
		m.commit(t)
		held += len(m.journal[m.seq])
		for ; first < m.first; first++ {
			held -= sizes[first]
			delete(sizes, first)
		}
		sizes[m.seq] = len(m.journal[m.seq])
		most = max(most, held)
	}
	live := m.kv.liveBytes()
	require.Less(t, most, 3*live+live/2, "of a state of %d bytes", live)
	m.folder.fs = vfs.NewCrashableMem()
	require.NoError(t, m.folder.db.Close())
	m.folder.start(t)
	m.crash(t)
	m.check(t)
}

// TestDiskResumesWhereItWas counts what a restart reads of the journal, with undelivered outboxes and without.
func TestDiskResumesWhereItWas(t *testing.T) {
	f := &folder{fs: vfs.NewCrashableMem()}
	f.start(t)
	defer func() { require.NoError(t, f.db.Close()) }()
	var kv *KeyValue[string]
	plan := &Plan{App: "app", Name: "sub", Sinks: []Sink{{Topic: stream.Topic[string]{Name: "out"}.Spec()}}, Wire: func(t *Task) {
		kv = NewOnDisk(t, "op.kv", stream.JSON[string]())
	}}
	var journal [][]byte
	open := func() (task *Task, read int, undelivered []Undelivered) {
		task = NewTask(plan, 0, 1<<20)
		from, err := task.OpenDisk(f.db.Space("x"))
		require.NoError(t, err)
		for i := max(from, 1); i <= uint64(len(journal)); i++ {
			require.NoError(t, task.Restore(i, journal[i-1]))
			read++
		}
		require.True(t, task.Confirmed())
		undelivered, err = task.Restored()
		require.NoError(t, err)
		return task, read, undelivered
	}
	task, _, _ := open()
	for i := range 100 {
		kv.Put(fmt.Sprint("k", i), "v")
		require.NoError(t, task.Emit(&Emitted{Key: fmt.Sprint(i), Data: []byte("x")}))
		c, err := task.Commit("o", false)
		require.NoError(t, err)
		journal = append(journal, c.Data)
		task.Appended(c.Number, uint64(len(journal)))
		if i < 90 {
			require.NoError(t, c.Store(uint64(len(journal))))
			task.Delivered(c.Number)
		}
	}
	for range 3 { // the second time the database has all rows, and the outboxes are still to be delivered
		var read int
		var undelivered []Undelivered
		task, read, undelivered = open()
		require.LessOrEqual(t, read, 11)
		require.Len(t, undelivered, 10)
		require.Equal(t, 100, kv.Len())
		require.EqualValues(t, 100, task.LastCommit())
	}
	task.Delivered(100)
	c, err := task.Commit("o", true)
	require.NoError(t, err)
	journal = append(journal, c.Data)
	require.NoError(t, c.Store(101))
	_, read, undelivered := open()
	require.Equal(t, 1, read)
	require.Empty(t, undelivered)

	// another journal of the same length, a shorter one, and none
	changed := slices.Clone(journal[100])
	changed[len(changed)-1] ^= 1
	for name, other := range map[string][][]byte{
		"another": append(slices.Clone(journal[:100]), changed), "shorter": journal[:100], "none": nil,
	} {
		task := NewTask(plan, 0, 1<<20)
		from, err := task.OpenDisk(f.db.Space("x"))
		require.NoError(t, err)
		require.EqualValues(t, 101, from)
		for i := from; i <= uint64(len(other)); i++ {
			require.ErrorIs(t, task.Restore(i, other[i-1]), ErrOtherJournal, name)
		}
		require.False(t, task.Confirmed(), name)
	}
}

// TestDiskOfOtherStores: a store that moves between memory and disk takes its rows with it, by way of the journal.
func TestDiskOfOtherStores(t *testing.T) {
	f := &folder{fs: vfs.NewCrashableMem()}
	f.start(t)
	defer func() { require.NoError(t, f.db.Close()) }()
	var a, b *KeyValue[string]
	var journal [][]byte
	open := func(aOnDisk bool) *Task {
		task := NewTask(&Plan{App: "app", Name: "sub", Wire: func(t *Task) {
			if aOnDisk {
				a = NewOnDisk(t, "a", stream.JSON[string]())
			} else {
				a = NewKeyValue(t, "a", stream.JSON[string]())
			}
			b = NewOnDisk(t, "b", stream.JSON[string]())
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
	want := map[string]string{}
	for i, onDisk := range []bool{true, false, false, true, true} {
		task := open(onDisk)
		require.Equal(t, want, maps.Collect(a.All()))
		require.Equal(t, want, maps.Collect(b.All()))
		key := fmt.Sprint(i)
		want[key] = "v"
		a.Put(key, "v")
		b.Put(key, "v")
		c, err := task.Commit("o", true)
		require.NoError(t, err)
		journal = append(journal, c.Data)
		task.Appended(c.Number, uint64(len(journal)))
		require.NoError(t, c.Store(uint64(len(journal))))
	}
}

// TestExpiredRowsLeaveTheDatabase: the journal is not told what stream time has passed, the database must be.
func TestExpiredRowsLeaveTheDatabase(t *testing.T) {
	m := newDiskMachine(t, onDisk{kv: true})
	defer m.close(t)
	rows := func() (n int) {
		for _, err := range m.folder.db.Space(m.task.ID()).From([]byte("r"), nil) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	for i := range 50 {
		k := fmt.Sprint("k", i)
		m.win.Add(k, int64(i), "v")
		m.exp.Put(k, "v")
		m.timers.Set(k, int64(i))
	}
	m.commit(t)
	require.Equal(t, 150, rows())
	require.NoError(t, m.task.Advance(10_000))
	m.commit(t)
	require.Zero(t, rows())
}

// TestHomesAfterARestart: rows in memory come from the database in the order of their keys, and must hold the journal back in the order
// of their commits.
func TestHomesAfterARestart(t *testing.T) {
	m := newDiskMachine(t, onDisk{kv: true})
	defer m.close(t)
	for i := range 100 {
		id := timerID{fmt.Sprintf("timer %d", 1000-i), 1}
		m.walls.Set(id.key, id.at)
		m.model.walls[id] = true
		m.commit(t)
	}
	require.NoError(t, m.folder.db.Close()) // what has been committed is in files then
	m.folder.start(t)
	m.crash(t)
	m.commit(t)
	require.NoError(t, m.folder.db.Close())
	m.folder.fs = vfs.NewCrashableMem()
	m.folder.start(t)
	m.crash(t)
	m.check(t)
}

// TestValuesBesideTheDatabaseAreBounded reads, without a commit, more rows than may be hot, and keys that are not there: of its own task,
// and of one that follows it. All stores of a process together keep no more than there is for values.
func TestValuesBesideTheDatabaseAreBounded(t *testing.T) {
	f := &folder{fs: vfs.NewCrashableMem()}
	f.start(t)
	defer func() { require.NoError(t, f.db.Close()) }()
	const rows = 3_000
	var stores []*KeyValue[string]
	open := func(name string) *Task {
		task := NewTask(&Plan{App: "app", Name: name, Wire: func(t *Task) {
			stores = append(stores, NewOnDisk(t, "a", stream.JSON[string]()), NewOnDisk(t, "b", stream.JSON[string]()))
		}}, 0, 1<<20)
		from, err := task.OpenDisk(f.db.Space(name))
		require.NoError(t, err)
		require.Zero(t, from)
		return task
	}
	owner, follower := open("owner"), open("follower")
	share := f.db.Space("owner").Share()
	require.Equal(t, 8<<20/4/4, share)
	for i := range rows {
		stores[0].Put(kindKey(i), kindValue(i))
		stores[1].Put(kindKey(i), kindValue(i))
	}
	c, err := owner.Commit("o", true)
	require.NoError(t, err)
	require.NoError(t, c.Store(1))
	owner.Appended(c.Number, 1)
	owner.Delivered(c.Number)
	require.NoError(t, follower.Follow(1, c.Data))
	for i := range rows {
		for _, s := range stores {
			v, ok := s.Get(kindKey(i))
			_, more := s.Get(kindKey(rows + i))
			if held := len(s.hot)*hotOverhead + s.weight; !ok || v != kindValue(i) || more || held > share+2*hotOverhead {
				require.Fail(t, "wrong", "entry %d: %t %q, one more %t, %d bytes of %d in memory", i, ok, v, more, held, share)
			}
		}
	}
	follower.CloseDisk()
	require.Equal(t, 2*share, f.db.Space("owner").Share())
}

// TestJournalStaysSmallBesideIdleStores overwrites a few rows many times, in commits of any size, beside stores that do nothing: the
// journal must follow what is alive, and the commits what is written.
func TestJournalStaysSmallBesideIdleStores(t *testing.T) {
	for name, store := range map[string]func(*Task, string, stream.Codec[string]) *KeyValue[string]{
		"on disk": NewOnDisk[string], "in memory": NewKeyValue[string],
	} {
		t.Run(name, func(t *testing.T) {
			f := &folder{fs: vfs.NewCrashableMem()}
			f.start(t)
			defer func() { require.NoError(t, f.db.Close()) }()
			const idleRows, busyRows, commits = 300, 30, 8_000
			var idle, busy, pair *KeyValue[string]
			var timers *Timers
			task := NewTask(&Plan{App: "app", Name: "sub", Wire: func(t *Task) {
				idle, busy = store(t, "idle", stream.String()), NewOnDisk(t, "busy", stream.String())
				pair, timers = NewKeyValue(t, "pair", stream.String()), NewWallTimers(t, "timers", func(string, int64) {})
			}}, 0, 1<<30)
			_, err := task.OpenDisk(f.db.Space("x"))
			require.NoError(t, err)
			filler := string(make([]byte, 1000))
			for i := range idleRows {
				idle.Put(kindKey(i), filler)
			}
			timers.Set("never", 1)
			pair.Put("also", filler)
			journal := map[uint64]int{}
			first, held, most, largest := uint64(1), 0, 0, 0
			for i := range commits {
				rows := 1
				if i%100 == 99 {
					rows = 20
				}
				for j := range rows {
					busy.Put(kindKey((i+j)%busyRows), filler)
				}
				c, err := task.Commit("o", true)
				require.NoError(t, err)
				journal[c.Number] = len(c.Data)
				held += len(c.Data)
				if i > 0 {
					largest = max(largest, len(c.Data))
				}
				task.Appended(c.Number, c.Number)
				require.NoError(t, c.Store(c.Number))
				task.Delivered(c.Number)
				if before, ok := task.Trim(); ok {
					for ; first < before; first++ {
						held -= journal[first]
					}
				}
				most = max(most, held)
			}
			live := 0
			for _, s := range task.stores {
				live += s.liveBytes()
			}
			const waiting = 3 << 20 // what is applied, but not in files yet
			require.Less(t, most, 3*live+live/2+waiting)
			require.Less(t, largest, 20*1100*4)
		})
	}
}
