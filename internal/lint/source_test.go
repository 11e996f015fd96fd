package lint

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"unicode"
)

// maxLines bounds a file that is no test; a longer one has more than one subject.
const maxLines = 600

// maxDocLines bounds the text of a package: vocabulary, guarantees, caveats, and a table or two.
const maxDocLines = 130

// checkSleeps refuses time.Sleep: it makes tests slow or flaky, and code deaf to the end of its context.
func checkSleeps(t *tree) []finding {
	var found []finding
	for _, s := range t.sources {
		for _, call := range s.uses("time", "Sleep") {
			do := "wait on a timer and on the context"
			if s.isTestCode() {
				do = "wait for what is to happen: a channel, or require.Eventually"
			}
			found = append(found, s.at(call, "time.Sleep: %s", do))
		}
	}
	return found
}

// checkSkips refuses tests that skip themselves: green would mean little.
func checkSkips(t *tree) []finding {
	var found []finding
	for _, s := range t.sources {
		if !s.isTestCode() {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb", "rt"}, x.Name) {
				found = append(found, s.at(sel, "%s.%s: let the test bring what it needs (embeddedtest starts a real server), or delete it", x.Name, sel.Sel.Name))
			}
			return true
		})
	}
	return found
}

// checkPanics refuses panic as a way to say that something is wrong.
func checkPanics(t *tree) []finding {
	var found []finding
	for _, s := range t.sources {
		if s.isTest() {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "panic" {
					found = append(found, s.at(call, "panic: return an error that says what, where and what to do"))
				}
			}
			return true
		})
	}
	return found
}

// pureTime are the folders where time is a parameter: what they decide must come out the same when input is replayed.
var pureTime = []string{"join", "alerting", "processor/internal/engine"}

// ofNow are the folders below those that are about this moment: people ask what is so now.
var ofNow = []string{"alerting/notify/api"}

// checkClocks refuses clocks where results depend on event time only.
func checkClocks(t *tree) []finding {
	var found []finding
	for _, s := range t.sources {
		if s.isTest() || !withinAny(s.dir(), pureTime) || withinAny(s.dir(), ofNow) {
			continue
		}
		for _, call := range s.uses("time", "Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer") {
			found = append(found, s.at(call, "time.%s: results here depend on event time only; take the time as a parameter", call.Sel.Name))
		}
	}
	return found
}

// checkPackageNames refuses names that say nothing.
func checkPackageNames(t *tree) []finding {
	var found []finding
	for _, s := range t.sources {
		name := strings.TrimSuffix(s.ast.Name.Name, "_test")
		if slices.Contains([]string{"util", "utils", "common", "types", "helper", "helpers", "misc"}, name) {
			found = append(found, s.at(s.ast.Name, "package %s: name it after what it provides, or put its parts where they are used", name))
		}
	}
	return found
}

// checkVariables refuses exported variables that any importer could change.
func checkVariables(t *tree) []finding {
	var found []finding
	for _, s := range t.sources {
		if s.isTest() || s.isProgram() || within(s.dir(), "examples") {
			continue
		}
		for _, decl := range s.ast.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok.String() != "var" {
				continue
			}
			for _, spec := range group.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if name.IsExported() && !isErrorName(name.Name) {
						found = append(found, s.at(name, "var %s can be changed by every importer: make it a constant, a function, or a field of a Config", name.Name))
					}
				}
			}
		}
	}
	return found
}

func isErrorName(name string) bool {
	rest, ok := strings.CutPrefix(name, "Err")
	return ok && rest != "" && unicode.IsUpper(rune(rest[0]))
}

// checkParameters refuses long lists of parameters in what is exported, and contexts that do not come first anywhere.
func checkParameters(t *tree) []finding {
	const most = 4
	var found []finding
	for _, s := range t.sources {
		if s.isTestCode() {
			continue
		}
		ctx, hasContext := s.alias("context")
		for _, decl := range s.ast.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := 0
			for _, field := range f.Type.Params.List {
				isContext := hasContext && isSelector(field.Type, ctx, "Context")
				if isContext && n > 0 {
					found = append(found, s.at(f.Name, "func %s: the context comes first", f.Name.Name))
				}
				if !isContext {
					n += max(1, len(field.Names))
				}
			}
			if n > most && f.Name.IsExported() {
				found = append(found, s.at(f.Name, "func %s has %d parameters beside the context: above %d, make them a struct", f.Name.Name, n, most))
			}
		}
	}
	return found
}

func isSelector(e ast.Expr, x, sel string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	ident, ok := s.X.(*ast.Ident)
	return ok && ident.Name == x && s.Sel.Name == sel
}

// checkPackageComments wants one text per package, that begins as go doc expects.
func checkPackageComments(t *tree) []finding {
	files := make(map[string][]*source) // by folder
	for _, s := range t.sources {
		if !s.isTest() {
			files[s.dir()] = append(files[s.dir()], s)
		}
	}
	var found []finding
	for _, s := range t.sources {
		all := files[s.dir()]
		if len(all) == 0 || all[0] != s {
			continue // one look per folder
		}
		var with []*source
		for _, s := range all {
			if s.ast.Doc != nil {
				with = append(with, s)
			}
		}
		name := s.ast.Name.Name
		switch {
		case len(with) == 0:
			found = append(found, finding{s.dir(), "package " + name + " has no package comment: say in " + path.Join(s.dir(), "doc.go") +
				" what it is for, its words, guarantees and caveats"})
			continue
		case len(with) > 1:
			found = append(found, with[1].at(with[1].ast.Name, "package %s has a second package comment, the other is in %s: keep one, and a blank line before "+
				"the package clause below any other comment", name, with[0].path))
		}
		doc := with[0].ast.Doc.Text()
		if name != "main" && !strings.HasPrefix(doc, "Package "+name+" ") {
			found = append(found, with[0].at(with[0].ast.Name, "the package comment must begin with \"Package %s \"", name))
		}
		if n := strings.Count(doc, "\n"); n > maxDocLines {
			found = append(found, with[0].at(with[0].ast.Name, "the package comment has %d lines: above %d it is a manual; move detail to the symbols", n, maxDocLines))
		}
	}
	return found
}

// checkLengths bounds the files of the product.
func checkLengths(t *tree) []finding {
	var found []finding
	for _, s := range t.sources {
		if !s.isTest() && s.lines > maxLines {
			found = append(found, finding{s.path, "has more than 600 lines: split it by subject, and name each file after its own"})
		}
	}
	return found
}

// checkComments wants a comment on every exported symbol that can be imported.
func checkComments(t *tree) []finding {
	var found []finding
	for _, s := range t.sources {
		if s.isTest() || s.isProgram() || ast.IsGenerated(s.ast) {
			continue
		}
		for _, decl := range s.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && ast.IsExported(receiver(d)) {
					found = append(found, undocumented(s, d.Name))
				}
			case *ast.GenDecl:
				found = append(found, uncommented(s, d)...)
			}
		}
	}
	return found
}

// uncommented gives the exported names of a declaration that no comment speaks of. For constants and variables the comment of
// their group, or one at the end of the line, will do.
func uncommented(s *source, d *ast.GenDecl) []finding {
	var found []finding
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() && spec.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
				found = append(found, undocumented(s, spec.Name))
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() && spec.Doc == nil && spec.Comment == nil && d.Doc == nil {
					found = append(found, undocumented(s, name))
				}
			}
		}
	}
	return found
}

func undocumented(s *source, name *ast.Ident) finding {
	return s.at(name, "%s has no comment: say what it means, its unit, its default and what its zero value does", name.Name)
}

// receiver is the name of the type that a method belongs to; for a function it is a name that counts as exported.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return "F"
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}
