-- The tables of Nix's store database, schema version 10: Nix 1.12 and later.
-- SQLite keeps the text of a statement, but not what stands between them, so
-- comments stay outside. The names of indexes and of the trigger are part of
-- the format: an upgrade of Nix's schema may refer to them.

-- One row a valid path. path and deriver are full paths; hash is that of the
-- NAR, sha256: and hexadecimal; registrationTime counts seconds since 1970;
-- narSize is in bytes; ultimate is 1 for what was built here; sigs are separated
-- by blanks; ca is the content address.
create table ValidPaths (
    id               integer primary key autoincrement not null,
    path             text unique not null,
    hash             text not null,
    registrationTime integer not null,
    deriver          text,
    narSize          integer,
    ultimate         integer,
    sigs             text,
    ca               text
);

-- One row a reference, by the ids above; those to oneself too.
create table Refs (
    referrer  integer not null,
    reference integer not null,
    primary key (referrer, reference),
    foreign key (referrer) references ValidPaths(id) on delete cascade,
    foreign key (reference) references ValidPaths(id) on delete restrict
);

create index IndexReferrer on Refs(referrer);
create index IndexReference on Refs(reference);

-- A path that refers to itself can be deleted all the same.
create trigger DeleteSelfRefs before delete on ValidPaths
  begin
    delete from Refs where referrer = old.id and reference = old.id;
  end;

-- What the derivations among the valid paths build: id is the output's name.
create table DerivationOutputs (
    drv  integer not null,
    id   text not null,
    path text not null,
    primary key (drv, id),
    foreign key (drv) references ValidPaths(id) on delete cascade
);

create index IndexDerivationOutputs on DerivationOutputs(path);
