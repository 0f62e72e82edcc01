"""A small project to deploy, and a store to deploy it to."""

from tests.support.project_folders import deployed as deployed
from tests.support.project_folders import make_project as make_project
from tests.support.project_folders import store as store
