package scenario

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRunTakesBothFolders runs what it can of two folders: every case once to see whether it can be made, and three times to the end.
func TestRunTakesBothFolders(t *testing.T) {
	own, further := t.TempDir(), t.TempDir()
	write := func(path, cases string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(`{"family": "f", "cases": [`+cases+`]}`), 0o600))
	}
	one := func(name, kind, members string) string {
		return `{"name": "` + name + `", ` + members + `"operator": {"kind": "` + kind + `", "input": "t"}, "steps": [` +
			in(`"a"`, `, "expect": [{"key": "k", "value": "a"}]`) + `]}`
	}
	write(filepath.Join(own, "a.json"), one("a", "echo", "")+","+one("theirs", "others", ""))
	write(filepath.Join(further, "deep", "b.json"), one("b", "echo", "")+","+one("unknown kind", "unknown", "")+","+one("unknown field", "echo", `"pre": [], `))
	write(filepath.Join(further, "c.json"), one("departs", "echo", `"final_drops": 7, `))
	list := `{"departs": {"departure": "D1", "steps": {"1": {"expect": [{"value": "a"}]}}, "final_drops": 0}}`
	require.NoError(t, os.WriteFile(filepath.Join(further, departuresFile), []byte(list), 0o600))
	t.Setenv(FurtherFolder, further)

	var made atomic.Int64
	counted := func(top *Topology, op Operator) (Result, error) {
		made.Add(1)
		return echo(top, op)
	}
	t.Run("suite", func(t *testing.T) {
		Run(t, Suite{Folder: own, Operators: map[string]Bind{"echo": counted}, Owns: func(op Operator) bool { return op.Kind != "others" }})
	})
	require.EqualValues(t, 3*(2+3), made.Load(), "a, b and departs")
}
