// Package lint holds the house rules as tests: who may import whom, where goroutines start, what every file must have. It is
// made of tests only, so nothing of it can end up in a program.
//
//	go test ./internal/lint
//
// A check is a function from the tree of files to findings. Each finding names the place, what is wrong and what to do. Each
// check has a test of its own on a made-up tree, and TestHouse runs them all on the real one.
//
// The checks read syntax, not types: they take a call by its spelling (time.Sleep, g.Go). That finds what people write by
// habit; it is no defence against somebody who hides it.
package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
)

// module is the path of the module; imports below it are named by their folders in this package.
const module = "github.com/rossby-streams/rossby"

// tree is what the checks look at.
type tree struct {
	fset    *token.FileSet
	texts   map[string][]byte // every file, by its path from the root with slashes
	sources []*source         // the Go files, by path
}

// source is one Go file.
type source struct {
	path string
	ast  *ast.File
	fset *token.FileSet
	// lines is how many lines it has.
	lines int
}

// finding is one breach of a rule.
type finding struct {
	place string // a path, or path:line
	text  string // what is wrong and what to do
}

func (f finding) String() string { return f.place + ": " + f.text }

// load reads all files below the root of fsys. Folders whose names begin with a dot are the tools', except .ci. Go files below
// testdata are data, as they are to the go command.
func load(fsys fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet(), texts: make(map[string][]byte)}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := path.Base(name); strings.HasPrefix(base, ".") && base != "." && base != ".ci" {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || name == ".git" {
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		t.texts[name] = data
		if !strings.HasSuffix(name, ".go") || isTestdata(name) {
			return nil
		}
		file, err := parser.ParseFile(t.fset, name, data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse: %w", err)
		}
		t.sources = append(t.sources, &source{path: name, ast: file, fset: t.fset, lines: strings.Count(string(data), "\n")})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tree: %w", err)
	}
	sort.Slice(t.sources, func(i, j int) bool { return t.sources[i].path < t.sources[j].path })
	return t, nil
}

// dir is the folder of the file, "." for the root.
func (s *source) dir() string { return path.Dir(s.path) }

// isTest says whether the go command builds the file for tests only.
func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// isTestCode says whether the file serves tests: it is one, or belongs to a package such as embeddedtest that exists for them.
func (s *source) isTestCode() bool {
	return s.isTest() || isTestDir(s.dir())
}

// isTestDir says whether a folder holds a package for tests: processor/processortest beside processor, and what lies below it.
func isTestDir(dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if path.Base(dir) == path.Base(path.Dir(dir))+"test" {
			return true
		}
	}
	return false
}

// isTestdata says whether a file lies below a folder called testdata.
func isTestdata(name string) bool { return slices.Contains(strings.Split(name, "/"), "testdata") }

// isProgram says whether the file belongs to a program, whose identifiers nobody can import.
func (s *source) isProgram() bool { return s.ast.Name.Name == "main" }

// at makes a finding at a place in the file.
func (s *source) at(n ast.Node, format string, args ...any) finding {
	return finding{fmt.Sprintf("%s:%d", s.path, s.fset.Position(n.Pos()).Line), fmt.Sprintf(format, args...)}
}

// alias is the name by which the file calls an imported package, and false if it does not import it.
func (s *source) alias(importPath string) (string, bool) {
	for _, spec := range s.ast.Imports {
		if importOf(spec) != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name, true
		}
		return path.Base(importPath), true
	}
	return "", false
}

// uses gives every use of a function of an imported package, such as time.Sleep.
func (s *source) uses(importPath string, functions ...string) []*ast.SelectorExpr {
	name, ok := s.alias(importPath)
	if !ok {
		return nil
	}
	var found []*ast.SelectorExpr
	ast.Inspect(s.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); !ok || x.Name != name {
			return true
		}
		if slices.Contains(functions, sel.Sel.Name) {
			found = append(found, sel)
		}
		return true
	})
	return found
}

// importOf is the path that an import names.
func importOf(spec *ast.ImportSpec) string { return strings.Trim(spec.Path.Value, "`\"") }

// within says whether a folder or import path is root or lies below it.
func within(dir, root string) bool { return dir == root || strings.HasPrefix(dir, root+"/") }

// withinAny says whether it lies within one of them.
func withinAny(dir string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return within(dir, root) })
}
