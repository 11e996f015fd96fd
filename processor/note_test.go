package processor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzNote reads what may stand in the log of the groups in the place of a note, and compares the shapes that it has.
func FuzzNote(f *testing.F) {
	for _, name := range []string{"state-note-v1.golden", "state-note-v2.golden"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte(`{"version":2,"levels":[{"number":1,"shape":{}},{"number":-1,"shape":null}]}`))
	f.Add([]byte(`{"version":3}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		note, err := parseNote(data)
		if err != nil {
			return
		}
		for _, a := range note.Levels {
			require.True(t, a.Shape.equal(a.Shape))
			for _, b := range note.Levels {
				_ = a.Shape.against(b.Shape)
			}
			_ = a.Shape.fingerprint()
		}
		again, err := json.Marshal(note)
		require.NoError(t, err)
		read, err := parseNote(again)
		require.NoError(t, err)
		require.Len(t, read.Levels, len(note.Levels))
		for i := range note.Levels {
			require.True(t, note.Levels[i].Shape.equal(read.Levels[i].Shape))
		}
	})
}
