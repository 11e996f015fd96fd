package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWordCount(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), strings.NewReader("a b a\n\nA c\n"), &out))
	require.ElementsMatch(t, []string{"a 1", "b 1", "a 2", "a 3", "c 1"}, strings.Split(strings.TrimSpace(out.String()), "\n"))
}
