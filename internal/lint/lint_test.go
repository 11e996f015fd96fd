package lint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// checks are all the rules by name.
var checks = map[string]func(*tree) []finding{
	"imports":          checkImports,
	"sleeps":           checkSleeps,
	"skips":            checkSkips,
	"panics":           checkPanics,
	"clocks":           checkClocks,
	"package names":    checkPackageNames,
	"variables":        checkVariables,
	"parameters":       checkParameters,
	"package comments": checkPackageComments,
	"lengths":          checkLengths,
	"comments":         checkComments,
	"file map":         checkFileMap,
	"goroutines":       checkGoroutines,
	"texts":            checkTexts,
}

func TestHouse(t *testing.T) {
	tree, err := load(os.DirFS(root(t)))
	require.NoError(t, err)
	require.NotEmpty(t, tree.sources)
	for name, check := range checks {
		t.Run(name, func(t *testing.T) {
			for _, f := range check(tree) {
				t.Error(f)
			}
		})
	}
}

// root is the folder that go.mod lies in.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
			return dir
		}
		parent := filepath.Dir(dir)
		require.NotEqual(t, dir, parent, "no go.mod above the test's folder")
		dir = parent
	}
}

// files is a made-up tree: paths to contents.
type files map[string]string

// run loads a made-up tree and gives what a check finds, one line each.
func run(t *testing.T, check func(*tree) []finding, in files) []string {
	t.Helper()
	fsys := make(fstest.MapFS)
	for name, text := range in {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := load(fsys)
	require.NoError(t, err)
	var lines []string
	for _, f := range check(tree) {
		lines = append(lines, f.String())
	}
	return lines
}

// one asks for exactly one finding, which begins and goes on as said; none if want is empty.
func one(t *testing.T, check func(*tree) []finding, in files, want ...string) {
	t.Helper()
	got := run(t, check, in)
	if len(want) == 0 {
		require.Empty(t, got, "%v", in)
		return
	}
	require.Len(t, got, 1, "%v", in)
	require.True(t, strings.HasPrefix(got[0], want[0]), "%q does not begin with %q", got[0], want[0])
	for _, part := range want[1:] {
		require.Contains(t, got[0], part)
	}
}
