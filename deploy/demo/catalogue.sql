-- The catalogue of a shop for socks, as the demonstration loads it on its primary.
CREATE DATABASE socksdb CHARACTER SET utf8mb4;
CREATE USER 'mesh'@'%' IDENTIFIED BY 'mesh_password';
GRANT ALL ON socksdb.* TO 'mesh'@'%';
-- Probes ask replicas how far behind they are.
GRANT REPLICATION CLIENT /*M!100500 , SLAVE MONITOR */ ON *.* TO 'mesh'@'%';
USE socksdb;

CREATE TABLE sock (
  sock_id     CHAR(36)      NOT NULL PRIMARY KEY,
  name        VARCHAR(40)   NOT NULL,
  description VARCHAR(200)  NOT NULL,
  price       DECIMAL(6, 2) NOT NULL,
  count       INT           NOT NULL,
  image_url   VARCHAR(80)   NOT NULL
);

CREATE TABLE tag (
  tag_id MEDIUMINT   NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name   VARCHAR(20) NOT NULL UNIQUE
);

CREATE TABLE sock_tag (
  sock_id CHAR(36)  NOT NULL,
  tag_id  MEDIUMINT NOT NULL,
  PRIMARY KEY (sock_id, tag_id),
  KEY by_tag (tag_id),
  FOREIGN KEY (sock_id) REFERENCES sock (sock_id),
  FOREIGN KEY (tag_id) REFERENCES tag (tag_id)
);

CREATE TABLE user (
  user_id    INT          NOT NULL AUTO_INCREMENT PRIMARY KEY,
  username   VARCHAR(40)  NOT NULL UNIQUE,
  first_name VARCHAR(40)  NOT NULL,
  last_name  VARCHAR(40)  NOT NULL,
  email      VARCHAR(80)  NOT NULL,
  joined     DATETIME     NOT NULL
);

INSERT INTO sock VALUES
  ('6d62d909-f957-430e-8689-b5129c0bb75e', 'Basket weave',   'A soft weave that keeps its shape through a long day.',        17.15,  33, '/images/weave.jpg'),
  ('a0a4f044-b040-410d-8ead-4de0446aec7e', 'Bookworm',       'Knee length, for chilly evenings with a thick volume.',         7.99, 115, '/images/bookworm.jpg'),
  ('808a2de1-1aaa-4c25-a9b9-6612e8f29a38', 'Two diagonals',  'Crossed stripes; no two pairs come out of the loom alike.',    17.32, 738, '/images/diagonals.jpg'),
  ('510a0d7e-8e83-4193-b483-e27e09ddc34d', 'Marathon XL',    'Padded heels and toes. Ready for forty-two kilometres.',       15.00, 820, '/images/marathon.jpg'),
  ('03fef6ac-1896-4ce8-bd69-b798f85c6e0b', 'Sunday best',    'Plain black, fine knit: weddings, funerals, interviews.',      99.99,   1, '/images/sunday.jpg'),
  ('d3588630-ad8e-49df-bbd7-3167f7efb246', 'Late show',      'Loud enough to be seen from the last row.',                    10.99, 801, '/images/late.jpg'),
  ('819e1fbf-8b7e-4f6d-811f-693534916a8b', 'Figueroa street','Desert green with a faded seam, as worn on the west coast.',   14.00, 808, '/images/figueroa.jpg'),
  ('zzz4f044-b040-410d-8ead-4de0446aec7e', 'Grey classic',   'The pair that is always at the front of the drawer.',          12.00, 127, '/images/grey.jpg'),
  ('3395a43e-2d88-40de-b95f-e00e1502085b', 'Seven colours',  'One for each day of the week, washed together safely.',        18.00, 438, '/images/seven.jpg'),
  ('837ab141-399e-4c1f-9abc-bace40296bac', 'Cat''s paw',     'Rubber prints under the sole: silent, and no slipping.',       15.00, 175, '/images/paw.jpg');

INSERT INTO tag (name) VALUES
  ('brown'), ('geek'), ('formal'), ('blue'), ('skin'), ('red'), ('action'), ('sport'), ('black'), ('magic'), ('green'), ('grey');

INSERT INTO sock_tag
SELECT sock.sock_id, tag.tag_id FROM sock JOIN tag ON FIND_IN_SET(tag.name, CASE sock.name
  WHEN 'Basket weave'    THEN 'brown,skin'
  WHEN 'Bookworm'        THEN 'geek,blue,magic'
  WHEN 'Two diagonals'   THEN 'blue,red,action'
  WHEN 'Marathon XL'     THEN 'sport,action,black'
  WHEN 'Sunday best'     THEN 'formal,black'
  WHEN 'Late show'       THEN 'red,magic,geek'
  WHEN 'Figueroa street' THEN 'green,action'
  WHEN 'Grey classic'    THEN 'grey,formal'
  WHEN 'Seven colours'   THEN 'brown,blue,red,green'
  ELSE 'grey,magic,skin' END);

INSERT INTO user (username, first_name, last_name, email, joined) VALUES
  ('ada',     'Ada',     'Berg',     'ada@example.org',     '2023-02-11 09:12:00'),
  ('bruno',   'Bruno',   'Caldwell', 'bruno@example.org',   '2023-03-02 18:40:31'),
  ('chiara',  'Chiara',  'Dumont',   'chiara@example.org',  '2023-07-19 07:05:59'),
  ('dmitri',  'Дмитрий', 'Ершов',    'dmitri@example.org',  '2024-01-30 22:14:08'),
  ('eve',     'Eve',     'Fontaine', 'eve@example.org',     '2024-05-06 13:00:00'),
  ('farid',   'Farid',   'Ghazali',  'farid@example.org',   '2024-11-23 16:45:10'),
  ('hana',    '花',      '石田',     'hana@example.org',    '2025-04-01 05:30:45'),
  ('ingrid',  'Ingrid',  'Åström',   'ingrid@example.org',  '2025-09-14 11:11:11');
