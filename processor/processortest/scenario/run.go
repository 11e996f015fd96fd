package scenario

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/internal/propertytest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// FurtherFolder is the environment variable that names one more folder of scenario files. A relative name counts from the root
// of the module.
const FurtherFolder = "ROSSBY_SEMANTICS"

// Suite is what a package has to run.
type Suite struct {
	// Folder holds the package's own scenario files and its departures.json. Every case in it must be applicable.
	Folder string
	// Operators are the kinds of operators that the package can make.
	Operators map[string]Bind
	// Owns says which cases are this package's to run, or to report: each belongs to one package.
	Owns func(Operator) bool
}

// Run runs every case of the suite's folder and of FurtherFolder, as subtests, three times each: straight, with a crash after
// every step, and through an app and a real server; the last two once more with the stores on disk, where there are any (the server with some of
// the cases only where propertytest.Chosen says so).
func Run(t *testing.T, s Suite) {
	t.Helper()
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	r := &runner{suite: s, client: client, apps: new(atomic.Int64)}
	r.departures, err = departuresIn(s.Folder)
	require.NoError(t, err)
	r.folder(t, s.Folder, true)
	if further := os.Getenv(FurtherFolder); further != "" {
		dir, err := findFolder(further)
		require.NoError(t, err, FurtherFolder)
		r.folder(t, dir, false)
	}
}

// runner runs suites.
type runner struct {
	suite      Suite
	client     *stream.Client
	apps       *atomic.Int64
	departures map[string]departure // the package's own, which hold for further folders too
}

// tally counts the cases of a folder.
type tally struct{ run, notApplicable, others int }

func (r *runner) folder(t *testing.T, dir string, own bool) {
	t.Helper()
	paths, err := files(dir)
	require.NoError(t, err)
	require.NotEmpty(t, paths, "folder %s has no scenario files (*.json)", dir)
	var sum tally
	used := make(map[string]bool)
	for _, path := range paths {
		cases, err := parseFile(path)
		if err != nil {
			t.Error(err) // of some cases; the others are run
		}
		departures, err := departuresIn(filepath.Dir(path))
		if err != nil {
			t.Error(err) // and the cases must do without
		}
		name, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		t.Run(strings.TrimSuffix(name, ".json"), func(t *testing.T) {
			for _, c := range cases {
				d, departs := departures[c.Name]
				if !departs && !own {
					d, departs = r.departures[c.Name]
				}
				if departs {
					used[c.Name] = true
					t.Logf("%s: expected to differ from the reference: departure %s", c.Name, d.number)
					if c, err = d.apply(c); err != nil {
						t.Error(err)
						continue
					}
				}
				sum.add(r.one(t, c, own))
			}
		})
	}
	if own {
		for name := range r.departures {
			require.True(t, used[name], "%s names case %q, which no file here has", departuresFile, name)
		}
	}
	t.Logf("%s: %d cases run, 3 to 5 times each; %d not applicable; %d are for another package", dir, sum.run, sum.notApplicable, sum.others)
}

func (sum *tally) add(o tally) {
	sum.run += o.run
	sum.notApplicable += o.notApplicable
	sum.others += o.others
}

// one runs a case, or reports why it cannot be run.
func (r *runner) one(t *testing.T, c Case, own bool) tally {
	t.Helper()
	if !r.suite.Owns(c.Operator) {
		return tally{others: 1}
	}
	reason := c.Reason
	if reason == nil {
		_, _, reason = wire(&c, "trial", r.suite.Operators, processor.InMemory)
	}
	if reason != nil && !errors.Is(reason, ErrNotApplicable) {
		t.Errorf("case %s: %v", c.Name, reason)
		return tally{}
	}
	if reason != nil {
		t.Run("not applicable/"+c.Name, func(t *testing.T) {
			t.Log(reason)
			require.False(t, own, "every case of the package's own folder must be applicable: %v", reason)
		})
		return tally{notApplicable: 1}
	}
	t.Run(c.Name, func(t *testing.T) {
		t.Parallel()
		ways := []string{"straight", "crashes", "server"}
		if topology, _, err := wire(&c, "trial", r.suite.Operators, processor.OnDisk); err == nil && isOnDisk(topology) {
			ways = append(ways, "on disk, crashes")
			if propertytest.Chosen(c.Name) {
				ways = append(ways, "on disk, server")
			}
		}
		for _, way := range ways {
			t.Run(way, func(t *testing.T) { r.play(t, &c, way) })
		}
	})
	return tally{run: 1}
}

// isOnDisk reports whether a topology has a store on disk.
func isOnDisk(t *processor.Topology) bool {
	return slices.ContainsFunc(t.Parts(), func(p processor.Part) bool { return engine.NewTask(p.Plan, 0, 1<<20).NeedsDisk() })
}

// play runs a case in one of the ways.
func (r *runner) play(t *testing.T, c *Case, way string) {
	t.Helper()
	keep := processor.InMemory
	if strings.HasPrefix(way, "on disk") {
		keep = processor.OnDisk
	}
	topology, made, err := wire(c, fmt.Sprintf("case%d", r.apps.Add(1)), r.suite.Operators, keep)
	require.NoError(t, err)
	var w world
	if strings.HasSuffix(way, "server") {
		w, err = newServed(r.client, topology, made, t.TempDir())
		require.NoError(t, err)
	} else {
		w = newDriven(t, topology, made.out())
	}
	err = newPlay(c, made, w, strings.HasSuffix(way, "crashes")).run()
	require.NoError(t, errors.Join(err, w.close()))
}

// findFolder resolves the name of a further folder.
func findFolder(name string) (string, error) {
	if !filepath.IsAbs(name) {
		root, err := moduleRoot()
		if err != nil {
			return "", err
		}
		name = filepath.Join(root, name)
	}
	name, err := filepath.EvalSymlinks(name) // a link is not walked into
	if err != nil {
		return "", fmt.Errorf("find the folder: %w", err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return "", fmt.Errorf("find the folder: %w", err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is no folder", name)
	}
	return name, nil
}

// moduleRoot returns the folder of go.mod, which is above the folder in which a test runs.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the root of the module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("find the root of the module: no go.mod here or above")
		}
		dir = up
	}
}
