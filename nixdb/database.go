package nixdb

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"thaw/narinfo"
	"thaw/storepath"
)

//go:embed schema.sql
var schema string

// Database returns the content of db.sqlite, a few hundred bytes for each path.
// It is deterministic for one version of SQLite; the number of that version is
// not in it.
//
// Signatures are those that [narinfo.Open] found good, and content addresses
// those that it proved: nothing else that a cache says gets in unverified.
//
// The database is in the journal mode "delete", so that it can be read where
// nothing can be written. Nix changes it to "wal" when it opens the store.
func (s *Store) Database() ([]byte, error) {
	c, err := newClosure(s.Infos)
	if err != nil {
		return nil, err
	}
	return s.database(c)
}

func (s *Store) database(c *closure) (data []byte, err error) {
	conn, err := sqlite.OpenConn(":memory:", sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := sqlitex.ExecuteScript(conn, schema, nil); err != nil {
		return nil, err
	}
	if err := s.insert(conn, c); err != nil {
		return nil, err
	}
	return conn.Serialize("main")
}

// insert adds the rows of all tables, in the order of their keys.
func (s *Store) insert(conn *sqlite.Conn, c *closure) (err error) {
	defer sqlitex.Transaction(conn)(&err)
	paths, err := conn.Prepare(`insert into ValidPaths (id, path, hash, registrationTime, deriver, narSize, sigs, ca) values (?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	refs, err := conn.Prepare(`insert into Refs (referrer, reference) values (?, ?)`)
	if err != nil {
		return err
	}
	outputs, err := conn.Prepare(`insert into DerivationOutputs (drv, id, path) values (?, ?, ?)`)
	if err != nil {
		return err
	}
	for _, info := range c.infos {
		if err := s.insertPath(paths, c, info); err != nil {
			return fmt.Errorf("%s: %w", info.StorePath, err)
		}
		if err := insertRefs(refs, c, info); err != nil {
			return fmt.Errorf("references of %s: %w", info.StorePath, err)
		}
		if isDerivation(info.StorePath) {
			if err := s.insertOutputs(outputs, c, info.StorePath); err != nil {
				return fmt.Errorf("%s: %w", info.StorePath, err)
			}
		}
	}
	return nil
}

func (s *Store) insertPath(stmt *sqlite.Stmt, c *closure, info *narinfo.Info) error {
	stmt.BindInt64(1, c.ids[info.StorePath])
	stmt.BindText(2, info.StorePath.String())
	stmt.BindText(3, info.NarHash.Base16())
	stmt.BindInt64(4, s.Epoch)
	bindText(stmt, 5, s.Derivers[info.StorePath].String())
	stmt.BindInt64(6, info.NarSize)
	bindText(stmt, 7, strings.Join(info.Trust.Sigs, " "))
	bindText(stmt, 8, info.ContentAddress())
	return run(stmt)
}

func insertRefs(stmt *sqlite.Stmt, c *closure, info *narinfo.Info) error {
	ids := make([]int64, len(info.References))
	for i, ref := range info.References {
		ids[i] = c.ids[ref]
	}
	slices.Sort(ids)
	for _, id := range ids {
		stmt.BindInt64(1, c.ids[info.StorePath])
		stmt.BindInt64(2, id)
		if err := run(stmt); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) insertOutputs(stmt *sqlite.Stmt, c *closure, drv storepath.Path) error {
	content, ok := s.Derivations[drv]
	if !ok {
		return errors.New("it is a derivation whose content is not given")
	}
	outputs, err := parseOutputs(content)
	if err != nil {
		return err
	}
	slices.SortFunc(outputs, func(a, b output) int { return strings.Compare(a.name, b.name) })
	for _, o := range outputs {
		stmt.BindInt64(1, c.ids[drv])
		stmt.BindText(2, o.name)
		stmt.BindText(3, o.path.String())
		if err := run(stmt); err != nil {
			return err
		}
	}
	return nil
}

// bindText binds a text, or NULL if it is empty.
func bindText(stmt *sqlite.Stmt, param int, text string) {
	if text == "" {
		stmt.BindNull(param)
		return
	}
	stmt.BindText(param, text)
}

// run runs a statement that returns no rows.
func run(stmt *sqlite.Stmt) error {
	_, err := stmt.Step()
	return errors.Join(err, stmt.Reset())
}
