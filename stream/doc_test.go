package stream_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The right side of the Kafka user's table speaks of what there is.
func TestKafkaTableIsOfThisPackage(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	require.NoError(t, err)
	names := map[string]bool{}
	doc := ""
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		require.NoError(t, err)
		if file.Doc != nil {
			doc += file.Doc.Text()
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.IsExported() {
				names[id.Name] = true
			}
			return true
		})
	}
	_, table, ok := strings.Cut(doc, "# From Kafka")
	require.True(t, ok)
	// Words that begin like sentences, and names of others.
	for _, word := range strings.Fields("Topics Producer Consumer Kafka NATS Whoever At FNV JSON IDs JetStream What The Conn") {
		names[word] = true
	}
	camel := regexp.MustCompile(`\b[A-Z][A-Za-z0-9]*\b`)
	rows := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "\t") {
			continue
		}
		rows++
		const left = len("\tmin.insync.replicas         ") // of the table
		require.Greater(t, len(line), left, line)
		for _, word := range camel.FindAllString(line[left:], -1) {
			require.True(t, names[word], "%q in %q", word, line)
		}
	}
	require.Greater(t, rows, 50)
}
